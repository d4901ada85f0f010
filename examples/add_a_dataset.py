"""A dataset of your own: what is said of it, what is checked, and a first training.

    python examples/add_a_dataset.py

A table with a row per clip and a folder of face crops per clip, made up here: put your
own in their place. docs/datasets.md says what else a declaration can hold.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

from configs import synthetic_3class
from data_builders.base import ClipBuilder, configs_of
from data_builders.build import build as build_dataset
from data_builders.datasets import BUILDERS
from data_builders.readers.declaration import Columns, Edition, Named, Table, Tree
from merclip_jax import experiment

EMOTIONS = {"anger": 6, "happiness": 6}  # and how many rows are published


def make_up(folder: Path) -> None:
    """Writes the owners' files: labels.csv and crops/s01/clip1/img1.png ..."""
    rows = ["Subject,Clip,Onset,Apex,Offset,Emotion,AU"]
    rng = np.random.default_rng(0)
    for i in range(12):
        emotion, au = (("anger", "4"), ("happiness", "12"))[i % 2]
        rows.append(f"{i // 4 + 1},clip{i},1,5,9,{emotion},{au}")
        clip = folder / "crops" / f"s{i // 4 + 1:02d}" / f"clip{i}"
        clip.mkdir(parents=True)
        face = rng.integers(60, 190, (8, 8, 3)).astype(np.uint8)
        for k in range(9):
            picture = cv2.resize(face, (64, 64), interpolation=cv2.INTER_CUBIC)
            rise = (10 * (4 - abs(k - 4))) * (1 if i % 2 else -1)
            picture[40:50] = np.clip(picture[40:50].astype(int) + rise, 0, 255)
            cv2.imwrite(str(clip / f"img{k + 1}.png"), picture)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def name(cells):
    """Returns the clip of a row: subject 1 and clip3 are "s01/clip3"."""
    wrong = {} if cells["Subject"].isdecimal() else {"Subject": "a number such as 7"}
    subject = f"s{cells['Subject'].zfill(2)}"
    return Named(subject=subject, name=cells["Clip"], wrong=wrong)


class Mine(ClipBuilder):
    """My dataset; configs: crops."""

    VERSION = tfds.core.Version("1.0.0")
    TABLE = Table(
        called="the table labels.csv",
        editions=(Edition(pattern="labels[.]csv", emotions=EMOTIONS),),
        columns=Columns(
            names=("Subject", "Clip"),
            frames=("Onset", "Apex", "Offset"),
            emotion="Emotion",
            aus="AU",
        ),
        fps=200.0,
        name=name,
    )
    TREES = {
        "crops": Tree(
            description="crops", folder="crops", inside="s01/clip1/", cropped=True
        )
    }
    BUILDER_CONFIGS = configs_of(TREES)
    DESCRIPTION = HOMEPAGE = LICENSE = "made up"
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put labels.csv and crops/ into one folder."


def main(argv=None):
    """Make up, build, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=Path("runs/own_dataset"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    given = parser.parse_args(argv)
    BUILDERS[Mine.name] = Mine  # in data_builders/datasets.py for good
    with tempfile.TemporaryDirectory() as folder:
        make_up(Path(folder))
        build_dataset("mine", manual_dir=Path(folder), data_dir=given.data_dir)
    config = synthetic_3class.get_config()
    config.data.dataset, config.data.data_dir = "mine/crops", str(given.data_dir)
    config.data.task, config.data.dropped = "", ()
    config.data.classes = tuple((emotion, (emotion,)) for emotion in EMOTIONS)
    config.train.epochs, config.train.batch_size = 2, 4
    card = experiment.run(config, given.workdir)
    print("UF1", card["scores"][0]["rows"][0]["mean"])


if __name__ == "__main__":
    main()
