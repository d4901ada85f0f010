"""One training after another; whom the first has seen is never tested unasked."""

import json

import numpy as np
import pytest

from merclip_jax import build, experiment
from merclip_jax.errors import UserError
from merclip_jax.staged import pretrained
from merclip_jax.weights import bundle
from merclip_jax.weights.part import Part
from merclip_jax.weights.provenance import Seen, overlap, seen_by, untold
from merclip_jax.weights.sources import open_source
from tests import mini
from tests.systems import three

pytestmark = pytest.mark.usefixtures("cache")
OUT = {"protocol.name": "holdout", "protocol.test_subjects": ("synthetic/s02",)}
SHORT = {"train.epochs": 1}


@pytest.fixture(scope="module")
def subjects(mini_data):
    clips = build.clips(mini.config(mini_data))
    return sorted(set(clips.subject.tolist()))


def first(data_dir, subjects, **changes):
    out = {"protocol.name": "holdout", "protocol.test_subjects": (subjects[2],)}
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return mini.config(data_dir, SHORT | out | changes)


@pytest.fixture(scope="module")
def staged(mini_data, subjects, tmp_path_factory, cache):
    """A first training, and a config that starts from it and tests the same subject."""
    path = tmp_path_factory.mktemp("staged") / "run"
    out = {"protocol.name": "holdout", "protocol.test_subjects": (subjects[2],)}
    config = mini.config(mini_data, SHORT | out)
    return path, pretrained(first(mini_data, subjects), config, path)


@pytest.mark.whole
def test_the_second_starts_from_the_first(staged, mini_data, subjects):
    path, config = staged
    card = experiment.run(config, path)
    assert (path / "pretrain" / "card.json").exists()
    (folder,) = (path / "pretrain" / "weights").iterdir()
    assert config.init.vision == str(folder)
    line = card["lineage"][0]
    assert "MER-CLIP trained here" in line
    assert "has seen 2 subjects of synthetic" in line
    assert not any("Overlap" in note for note in card["notes"])
    # The encoder is the first one's, the head is not.
    plan = experiment.plan_of(build.job(config, build.clips(config)))
    _, variables, _ = bundle.load(folder)
    kernel = plan.start["params/encoder/patch_embed/kernel"]
    theirs = variables["params"]["encoder"]["patch_embed"]["kernel"]
    np.testing.assert_array_equal(kernel, theirs)
    assert not any(name.startswith("params/head/") for name in plan.start)
    # Given again, nothing is trained again.
    before = json.loads((path / "card.json").read_text())
    again = pretrained(
        first(mini_data, subjects), mini.config(mini_data, SHORT | OUT), path
    )
    assert again.init.vision == config.init.vision
    assert experiment.run(config, path)["card_sha256"] == before["card_sha256"]


@pytest.mark.whole
def test_subjects_that_the_first_has_seen_are_not_tested(
    staged, mini_data, subjects, tmp_path
):
    folder = staged[1].init.vision
    config = mini.config(mini_data, SHORT | {"init.vision": folder})
    with pytest.raises(UserError, match="were trained on subjects that it tests") as e:
        experiment.run(config, tmp_path / "run")
    assert subjects[0] in str(e.value) and subjects[2] not in str(e.value)
    assert "--allow_overlap" in str(e.value)
    assert not (tmp_path / "run").exists()
    card = experiment.run(config, tmp_path / "run", overlap=True)
    (note,) = [n for n in card["notes"] if n.startswith("Overlap: ")]
    assert subjects[0] in note and subjects[1] in note


@pytest.mark.whole
def test_what_was_seen_is_handed_on(staged, mini_data, subjects, tmp_path):
    """Of a chain of trainings the last knows whom the first has seen."""
    folder = staged[1].init.vision
    (record,) = open_source(folder).files
    assert record["seen"] == [{"dataset": "synthetic", "subjects": subjects[:2]}]
    changes = {"init.vision": folder, "train.keep_weights": True}
    config = first(mini_data, subjects, **changes)
    experiment.run(config, tmp_path / "run")
    (second,) = (tmp_path / "run" / "weights").iterdir()
    (record,) = open_source(str(second)).files
    assert [one["subjects"] for one in record["seen"]] == [subjects[:2]] * 2


def test_a_config_says_what_published_weights_have_seen(mini_data, subjects):
    record = {"name": "mer_clip.pth"}
    part = Part(module={"family": "mer_clip"}, sources=[record])
    assert untold([part]) == ["mer_clip.pth"]
    assert untold([Part(module={"family": "uniformer_v2"}, sources=[record])]) == []
    seen = seen_by([part], ("synthetic/tiny", "dfme"))
    assert seen == [Seen("synthetic"), Seen("dfme")]
    assert overlap(seen, subjects) == ["synthetic, of which no subject is named"]
    assert overlap([Seen("samm", ("samm/006",))], subjects) == []
    assert overlap([Seen("samm", ("samm/006",))], ["samm/006", "samm/007"]) == [
        "samm/006"
    ]
    config = mini.config(mini_data, {"init.seen": ("dfme",)})
    with pytest.raises(UserError, match="config.init.seen=.* goes with vision"):
        build.check(config)


def test_what_cannot_be_staged_is_refused(mini_data, subjects, tmp_path):
    one = first(mini_data, subjects)
    config = mini.config(mini_data, SHORT)
    with pytest.raises(UserError, match="loso trains 3 models, and the second"):
        pretrained(config, config, tmp_path)
    started = mini.config(mini_data, SHORT | {"init.vision": "x.pth"})
    with pytest.raises(UserError, match="--pretrain says already"):
        pretrained(one, started, tmp_path)
    other = three.config("fdp", mini_data)
    with pytest.raises(UserError, match="--pretrain trains mer_clip and --config fdp"):
        pretrained(one, other, tmp_path)
    aus = three.config("micro_au_clip", mini_data)
    with pytest.raises(UserError, match="--pretrain trains micro_au_clip"):
        pretrained(aus, aus, tmp_path)
    assert not list(tmp_path.iterdir())
