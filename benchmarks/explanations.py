"""Whether maps of an answer lie where the face moves: on clips whose truth is known.

  python -m data_builders.build --dataset=synthetic/apart
  python -m benchmarks.explanations --workdir=runs/explanations

A MER-CLIP with patches of 8 pixels trains on procedural clips of 64, in which every AU
of the apex is annotated, two subjects left out. Of their clips that show an AU the map
of what is said for it ("where did you see AU12?") is held against where its skin moves:
pixels with more than 30 % of its largest displacement. The number is the share of the
map's energy in there over the share of pixels; a random region of that size has 1. The
map of the emotion's logit is held against all AUs of the clip.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from configs import common, synthetic
from data_builders.synthetic.config import APART
from data_builders.synthetic.emotions import aus_of
from data_builders.synthetic.fields import cells_of
from data_builders.synthetic.render import subject_face
from merclip_jax import build, command, experiment
from merclip_jax.explaining import heat
from merclip_jax.models import mer_clip
from merclip_jax.results.card import find_row
from merclip_jax.weights import bundle

WORKDIR = flags.DEFINE_string("workdir", "runs/explanations", "Of the training.")
DATA = flags.DEFINE_string("data_dir", "data", "Where synthetic/apart is built.")
EPOCHS = flags.DEFINE_integer("epochs", 15, "Of the training.")
MOVES = 0.3  # of the largest displacement
LEAST = 5  # clips that an AU must have
# The demo's model with patches of half the size: those of 16 pixels hold half a face.
mer_clip.SIZES["fine"] = dataclasses.replace(mer_clip.SIZES["tiny"], patch_size=8)


def config(data_dir: str, epochs: int):
    """Three classes of synthetic/apart, two subjects left out."""
    made = synthetic.tiny(3)
    made.update_from_flattened_dict(
        {
            "data.dataset": "synthetic/apart",
            "data.data_dir": data_dir,
            "data.image_size": APART.size,
            "data.frames": 8,
            "model.size": "fine",
            "train.epochs": epochs,
            "train.batch_size": 16,
            "train.keep_weights": True,
            "protocol.name": "holdout",
            "protocol.test_subjects": ("synthetic/s02", "synthetic/s07"),
        }
    )
    return common.finish(made, None)


def region(subject_name: str, aus) -> np.ndarray:
    """Bool [h, w]: where the skin of some AUs, (number, side), moves."""
    _, fields = subject_face(APART, int(subject_name.rpartition("/s")[2]))
    rows = list(cells_of(tuple(aus)))
    moved = np.sqrt((fields.displacement[rows] ** 2).sum(-1)).sum(0)
    return moved > MOVES * moved.max()


def concentration(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Energy of maps [b, t, h, w] inside regions [b, h, w] over their area, [b]."""
    energy = maps.sum(1)
    share = (energy * inside).sum((1, 2)) / np.maximum(energy.sum((1, 2)), 1e-30)
    return share / inside.mean((1, 2))


def main(_: list[str]) -> None:
    """Train, or go on, and print the table."""
    logging.set_verbosity(logging.ERROR)
    made = config(DATA.value, EPOCHS.value)
    path = Path(WORKDIR.value)
    card = experiment.run(made, path)
    clips = build.clips(made)
    job = build.job(made, clips)
    (member,) = experiment.members_of(job)
    system, variables, context = bundle.load(path / "weights" / member.name)
    evidence = system.evidence(system.vocabulary(clips), context)
    test = member.fold.test
    frames = np.stack([clips.decode(int(i)) for i in test])
    combinations = [aus_of(cell) for cell in clips.au_cell[test].tolist()]
    subjects = clips.subject[test].tolist()
    batch = {"frames": jnp.asarray(frames)}
    print(f"UF1 {find_row(card, 'uf1')['mean']:.3f} on {len(test)} clips of 2 subjects")
    print(f"{'AU':>6}{'clips':>7}{'area':>8}{'times':>8}{'evidence AUC':>14}")
    outputs = jax.jit(system.predict)(variables, context, batch)
    said = np.asarray(evidence.of(outputs))
    times = []
    for j, au in enumerate(evidence.aus):
        shows = np.asarray([au in {n for n, _ in own} for own in combinations])
        if shows.sum() < LEAST:
            continue
        maps = heat.au_maps(system, variables, context, batch, evidence, au)
        maps = heat.on_frames(maps[shows], frames.shape[1], APART.size)
        inside = np.stack(
            [
                region(subjects[i], [a for a in combinations[i] if a[0] == au])
                for i in np.flatnonzero(shows)
            ]
        )
        found = concentration(maps, inside)
        above = (said[shows, j][:, None] > said[~shows, j][None]).mean()
        times.append(found.mean())
        print(
            f"{'AU' + str(au):>6}{shows.sum():>7}{inside.mean():>8.1%}"
            f"{found.mean():>8.2f}{above:>14.3f}"
        )
    answers = np.asarray(outputs["logits"]).argmax(1)
    maps = heat.class_maps(system, variables, context, batch, answers)
    maps = heat.on_frames(maps, frames.shape[1], APART.size)
    inside = np.stack(
        [region(s, own) for s, own in zip(subjects, combinations, strict=True)]
    )
    print(f"{'class':>6}{len(test):>7}{inside.mean():>8.1%}", end="")
    print(f"{concentration(maps, inside).mean():>8.2f}")
    most = sum(t >= 3 for t in times)
    print(f"{most} of {len(times)} AUs have three times the share of a random region")


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
