"""Several datasets are one set of clips; a fold of theirs is a dataset."""

import dataclasses

import numpy as np
import pytest

from configs.micro_au_clip import cd6me
from data_builders.build import build as build_dataset
from merclip_jax import build, experiment
from merclip_jax.data import folds
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.several import load_datasets, merge
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.results.terminal import format_card
from merclip_jax.scoring import published
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.workdir import Workdir
from tests import mini
from tests.fixtures.sets import SETS
from tests.systems import tiny_au

CASME2 = "casme2/cropped"
BOTH = f"{mini.DATASET}+{CASME2}"
EMOTIONS = ("anger", "contempt", "disgust", "fear", "happiness", "others")
EMOTIONS += ("repression", "sadness", "surprise")
CLASSES = tuple((name, (name,)) for name in EMOTIONS)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """CASME II in miniature beside the synthetic set."""
    folder = tmp_path_factory.mktemp("several")
    case = SETS[CASME2]
    case.write(folder / "manual")
    build_dataset(mini.DATASET, data_dir=folder / "data")
    build_dataset(CASME2, manual_dir=folder / "manual", data_dir=folder / "data")
    return folder / "data"


def load(data_dir, dataset, **changes):
    options = {"dataset": dataset, "classes": CLASSES, "data_dir": str(data_dir)}
    return load_datasets(DataOptions(**options | changes), tiny_au.VIEW)


def renamed(clips, name):
    """The same clips as another dataset's."""
    changed = {
        column: np.char.replace(getattr(clips, column), "synthetic/", f"{name}/")
        for column in ("clip", "subject")
    }
    return dataclasses.replace(clips, dataset=f"{name}/mini", **changed)


def test_the_clips_are_those_of_each(data_dir):
    both = load(data_dir, BOTH)
    apart = [load(data_dir, name) for name in (mini.DATASET, CASME2)]
    assert both.dataset == BOTH and len(both) == sum(map(len, apart))
    assert len({both.fingerprint, *(one.fingerprint for one in apart)}) == 3
    first = len(apart[0])
    for name in ("clip", "subject", "emotion", "au_cell", "label", "spans"):
        whole = np.concatenate([getattr(one, name) for one in apart])
        np.testing.assert_array_equal(getattr(both, name), whole)
    for i, part, j in ((0, apart[0], 0), (first, apart[1], 0), (-1, apart[1], -1)):
        i, j = range(len(both))[i], range(len(part))[j]
        np.testing.assert_array_equal(both.decode(i), part.decode(j))
    # Some of them alone are still read from where they lie.
    few = both.take(np.array([first + 1, 2]))
    np.testing.assert_array_equal(few.decode(0), apart[1].decode(1))
    np.testing.assert_array_equal(few.decode(1), apart[0].decode(2))


def test_notes_say_whose_they_are_and_what_is_missing(data_dir):
    notes = load(data_dir, f"{BOTH}+samm").metadata["notes"]
    assert notes[-1] == "not built, so no part of this: samm"
    assert any(note.startswith(f"{mini.DATASET}: ") for note in notes)
    # A class is idle where no dataset has it.
    idle = load(data_dir, BOTH, classes=(*CLASSES, ("joy", ("joy",))))
    said = [n for n in idle.metadata["notes"] if "no clip is of the class" in n]
    of_both = {e for e in load(data_dir, BOTH).emotion.tolist()}
    assert said == [
        f"no clip is of the class {name!r}"
        for name in (*EMOTIONS, "joy")
        if name not in of_both
    ]


def test_two_are_needed_and_no_clip_twice(data_dir):
    with pytest.raises(UserError, match="and only synthetic/mini is built") as caught:
        load(data_dir, "synthetic/mini+samm+mmew", access="samm: by letter")
    assert "How to get them: samm: by letter" in str(caught.value)
    with pytest.raises(UserError, match="and none is built in"):
        load(data_dir, "samm+mmew")
    with pytest.raises(UserError, match="24 clips are in two of these, the first syn"):
        load(data_dir, f"{mini.DATASET}+{mini.DATASET}")
    with pytest.raises(ValueError, match=r"expected NAME or NAME/CONFIG, several"):
        DataOptions(dataset="samm++mmew")


def test_the_dataset_that_lacks_landmarks_is_named(data_dir):
    with pytest.raises(UserError, match="casme2/cropped: clip casme2/.* has 0 landm"):
        _ = load(data_dir, BOTH).landmarks


def test_a_damaged_record_names_its_dataset(data_dir):
    clips = load(data_dir, mini.DATASET)

    class Damaged(list):
        def __getitem__(self, index):
            raise ValueError("bits")

    parts = [renamed(clips, "one"), dataclasses.replace(clips, dataset="two/mini")]
    whole = merge([parts[0], dataclasses.replace(parts[1], source=Damaged([0] * 99))])
    whole.decode(0)
    with pytest.raises(UserError, match="^two/mini: record 0 of 99 cannot be read"):
        whole.decode(len(clips))


def test_a_fold_of_theirs_is_a_dataset(data_dir):
    clips = load(data_dir, BOTH)
    protocol = ProtocolOptions(name="cross_dataset")
    made = folds.split(protocol, clips.subject, clips.label)
    assert [fold.name for fold in made] == ["casme2", "synthetic"]
    for fold in made:
        assert {s.partition("/")[0] for s in clips.subject[fold.test]} == {fold.name}
        assert len(fold.train) + len(fold.test) == len(clips)
    one = load(data_dir, mini.DATASET)
    with pytest.raises(UserError, match="every subject is of synthetic; give several"):
        folds.split(protocol, one.subject, one.label)


def test_some_datasets_alone_are_tested(data_dir):
    """Trained on A, tested on B."""
    clips = load(data_dir, BOTH)
    protocol = ProtocolOptions(name="cross_dataset", test_datasets=("casme2",))
    (fold,) = folds.split(protocol, clips.subject, clips.label)
    assert fold.name == "casme2"
    assert {s.partition("/")[0] for s in clips.subject[fold.train]} == {"synthetic"}
    other = dataclasses.replace(protocol, test_datasets=("samm",))
    with pytest.raises(UserError, match=r"test_datasets \['samm'\] are none of"):
        folds.split(other, clips.subject, clips.label)
    with pytest.raises(ValueError, match="goes with name='cross_dataset' alone"):
        ProtocolOptions(test_datasets=("samm",))
    with pytest.raises(ValueError, match="one is there twice"):
        ProtocolOptions(name="cross_dataset", test_datasets=("samm", "samm"))


def test_an_emotion_may_be_of_one_dataset_alone(data_dir):
    """MEGC2019 leaves out CASME II's sadness and counts SAMM's as negative."""
    both = load(data_dir, BOTH)
    own = both.emotion == "disgust"
    here = np.char.startswith(both.clip, "casme2/")
    assert (own & here).any() and (own & ~here).any()
    rest = tuple((e, (e,)) for e in EMOTIONS if e != "disgust")
    apart = load(
        data_dir,
        BOTH,
        classes=(*rest, ("elsewhere", ("disgust",))),
        dropped=("casme2/disgust",),
    )
    assert len(apart) == len(both) - (own & here).sum()
    named = apart.emotion == "disgust"
    assert not np.char.startswith(apart.clip[named], "casme2/").any()
    assert {apart.classes[k] for k in apart.label[named]} == {"elsewhere"}
    # A class of one dataset counts before one of all.
    two = (*rest, ("disgust", ("disgust",)), ("ours", ("casme2/disgust",)))
    split = load(data_dir, BOTH, classes=two)
    assert len(split) == len(both)
    found = {split.classes[k] for k in split.label[own & here]}
    assert found == {"ours"}
    with pytest.raises(UserError, match="neither maps to a class nor drops: 'disgust'"):
        load(data_dir, BOTH, classes=rest, dropped=("synthetic/disgust",))


@pytest.mark.whole
@pytest.mark.usefixtures("cache")
def test_datasets_are_left_out_one_after_another(data_dir, tmp_path):
    """From clips to a card that says how each fared, and what others published."""
    clips = load(data_dir, mini.DATASET)
    clips = merge([clips, renamed(clips, "samm"), renamed(clips, "other")])
    model = dataclasses.replace(tiny_au.MODEL, aus=tuple(cd6me.get_config().model.aus))
    job = tiny_au.job(
        clips,
        epochs=1,
        made=tiny_au.system(model=model),
        options=TrainOptions(batch_size=8, scan_steps=6, stack=3),
        name="cross_dataset",
    )
    card = experiment.train_and_score(job, Workdir(tmp_path / "run"), command="tests")
    assert card["protocol"]["folds"] == 3
    of = {block["title"]: block for block in card["scores"]}
    own = of["Dataset by dataset"]
    assert [row["name"] for row in own["rows"]] == ["other", "samm", "synthetic"]
    assert own["columns"] == ["f1", "auc-pr", "clips", "subjects"]
    assert [row["clips"] for row in own["rows"]] == [24] * 3
    theirs = of["Published on six datasets, each left out once (CD6ME)"]
    assert [row["f1"] for row in theirs["rows"]][0] == pytest.approx(0.178)
    remark = "CD6ME: this run is without casme, casme2, casme3, fourdme, mmew and with "
    assert f"{remark}other, synthetic: not the published clips." in card["notes"]
    shown = format_card(card)
    assert "│ Published on six datasets" in shown and "│ Dataset by dataset" in shown
    assert "AU by AU" not in shown
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Leave-one-dataset-out" in page and "SSSNet" in page


def test_published_numbers_go_with_their_aus_alone():
    names = tuple(f"AU{au}" for au in cd6me.get_config().model.aus)
    assert names == published.CD6ME_AUS
    assert published.cd6me(published.CD6ME_SETS).remarks == ()
    five = [name.partition("/")[0] for name in cd6me.DATASETS]
    (remark,) = published.cd6me(five).remarks
    assert remark == "CD6ME: this run is without casme: not the published clips."


def test_the_config_takes_what_is_built(data_dir):
    config = cd6me.get_config()
    assert config.protocol.name == "cross_dataset"
    assert config.protocol.selection == "last"
    config.data.data_dir = str(data_dir)
    with pytest.raises(UserError, match="only casme2/cropped is built in"):
        build.clips(config)
    config.data.dataset = f"{config.data.dataset}+{mini.DATASET}"
    config.data.image_size = 32
    config.model.size = "tiny"
    found = build.clips(config)
    assert found.dataset == f"casme2/cropped+{mini.DATASET}"
    assert isinstance(found.view, View)
