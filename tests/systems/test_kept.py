"""Weights that a training kept: any system comes back and answers the same."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import experiment
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import load_clips
from merclip_jax.errors import UserError
from merclip_jax.training.options import TrainOptions
from merclip_jax.training.workdir import Workdir
from merclip_jax.weights import bundle, convert, export
from tests import mini
from tests.systems import tiny


@dataclasses.dataclass(frozen=True)
class Weighted(tiny.Tiny):
    """Answers with the constants of its run and its fold."""

    name = "weighted"
    title = "Weighted"

    def predict(self, variables, context, batch):
        found = super().predict(variables, context, batch)
        shift = jnp.log(context.fold["positive"])[None] * context.run["share"]
        return found | {"aus": found["aus"] + shift}


SYSTEMS = {"tiny": tiny.Tiny, "weighted": Weighted}


@pytest.fixture(scope="module")
def run(mini_data, tmp_path_factory):
    classes = mini.config(mini_data).data.classes
    options = DataOptions(
        dataset=mini.DATASET, data_dir=str(mini_data), classes=classes
    )
    clips = load_clips(options, tiny.Tiny().view)
    training = TrainOptions(batch_size=8, scan_steps=5, stack=2, keep_weights=True)
    job = dataclasses.replace(
        tiny.job(clips, steps=5, options=training), system=Weighted()
    )
    path = tmp_path_factory.mktemp("kept") / "run"
    experiment.train_and_score(job, Workdir(path))
    return path, job.clips


def test_every_member_answers_as_it_did(run):
    path, clips = run
    folders = sorted((path / "weights").iterdir())
    assert len(folders) == 3
    names = clips.clip.tolist()
    brightness = tiny.Tiny().columns(clips)["brightness"]
    for folder in folders:
        system, variables, context = bundle.load(folder, systems=SYSTEMS)
        assert system == Weighted()
        with np.load(path / "members" / f"{folder.name}.npz") as member:
            known = {name: member[name] for name in member.files}
        index = [names.index(clip) for clip in known["clip"].tolist()]
        batch = {
            "frames": jnp.asarray(np.stack([clips.decode(i) for i in index])),
            "brightness": jnp.asarray(brightness[index]),
        }
        found = system.predict(variables, context, batch)
        for name in ("aus", "energy"):
            np.testing.assert_allclose(found[name], known[name], rtol=1e-5, atol=1e-5)
        # Folds have other training clips, and so other constants.
        others = [i for i in range(len(clips)) if i not in index]
        others = clips.take(np.asarray(others))
        wanted = system.fold_context(others, system.columns(others))["positive"]
        np.testing.assert_allclose(context.fold["positive"], wanted, rtol=1e-6)


def test_what_is_said_of_it(run):
    folder = sorted((run[0] / "weights").iterdir())[0]
    told = json.loads((folder / "system.json").read_text())
    (record,) = told["lineage"]["sources"]
    assert record["family"] == "Weighted trained here"
    with pytest.raises(UserError, match=r"describes none of \['mer_clip'"):
        bundle.load(folder)
    with pytest.raises(UserError, match="family 'weighted', expected one of unif"):
        convert.convert([str(folder)])
    with pytest.raises(UserError, match="family 'weighted', expected one of unif"):
        export.write_torch(str(folder), folder.with_name("x.safetensors"))


def test_a_context_of_another_fold_is_refused(run, tmp_path):
    first, second = sorted((run[0] / "weights").iterdir())[:2]
    mixed = tmp_path / "mixed"
    for folder, names in [(first, ["system.json", "video"]), (second, ["context"])]:
        for name in names:
            mixed.mkdir(exist_ok=True)
            (mixed / name).symlink_to(folder / name)
    assert (second / "context").is_dir()
    with pytest.raises(UserError, match="system.json and context are not of one maki"):
        bundle.load(mixed, systems=SYSTEMS)
    (mixed / "context").unlink()
    with pytest.raises(UserError, match="mixed/context: these weights cannot be read"):
        bundle.load(mixed, systems=SYSTEMS)
