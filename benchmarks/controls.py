"""Anti-shortcut controls: where the score comes from.

  python -m benchmarks.controls --config=configs/synthetic_3class.py

Trains the config on its clips as they are, on the onset frame alone, on time-shuffled
key frames, and with permuted labels; reads the true motion with an oracle. Only the
first and the last may score above chance. Each control is a run of its own under the
workdir, so that the command can be interrupted and given again.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags, logging
from ml_collections import config_flags

from data_builders.synthetic.builder import Synthetic
from data_builders.synthetic.ceiling import ceilings
from data_builders.synthetic.oracle import MotionOracle
from merclip_jax import build, command, experiment
from merclip_jax.data.clips import Clips
from merclip_jax.data.records import find
from merclip_jax.results.card import find_row
from merclip_jax.scoring import metrics

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A synthetic config.", lock_config=False
)
WORKDIR = flags.DEFINE_string("workdir", "runs/controls", "Folder of the results.")
CONTROLS = flags.DEFINE_list(
    "controls", ["none", "onset", "shuffled", "permuted"], "Which to train."
)


def controlled(clips: Clips, control: str, *, seed: int = 0) -> Clips:
    """The clips under a control: what is left of them to learn from.

    "onset" shows the first key frame only, "shuffled" puts each clip's key frames in a
    random order, "permuted" deals emotions and AUs out anew over all clips.
    """
    rng = np.random.default_rng(seed)
    if control == "none":
        return clips
    if control == "onset":
        positions = np.repeat(clips.positions[:, :1], clips.positions.shape[1], 1)
        return dataclasses.replace(clips, positions=positions)
    if control == "shuffled":
        return dataclasses.replace(
            clips, positions=rng.permuted(clips.positions, axis=1)
        )
    if control == "permuted":
        label = rng.permutation(clips.label)
        au_cell = rng.permutation(clips.au_cell)
        return dataclasses.replace(clips, label=label, au_cell=au_cell)
    raise ValueError(f"control {control!r}: none, onset, shuffled or permuted")


def oracle_scores(dataset: str, data_dir: str, classes: int) -> metrics.Scores:
    """Scores of the motion oracle on a built synthetic dataset."""
    config = Synthetic.builder_configs[dataset.partition("/")[2]].clips
    oracle, ceiling = MotionOracle(config), ceilings(config)[classes]
    builder = tfds.builder_from_directory(find(dataset, data_dir))
    class_of = builder.info.metadata["tasks"][str(classes)]["class_of"]
    names = builder.info.metadata["tasks"][str(classes)]["classes"]
    truth, answers = [], []
    for record in builder.as_data_source("clips"):
        times = (int(record[k]) for k in ("onset", "apex", "offset"))
        posterior = oracle.posterior(record["au_intensity"], *times)
        answers.append(oracle.label(posterior, classes, ceiling))
        truth.append(names.index(class_of[record["emotion"].decode()]))
    matrix = metrics.confusion_matrix(
        np.asarray(truth), np.asarray(answers), classes=classes
    )
    return metrics.scores(matrix)


def main(_: list[str]) -> None:
    """Run every control and print the table."""
    logging.set_verbosity(logging.ERROR)
    config, root = CONFIG.value, Path(WORKDIR.value)
    clips = build.clips(config)
    name, rows = config.name, []
    for control in CONTROLS.value:
        config.name = f"{name}-{control}"
        card = experiment.run_on(
            controlled(clips, control), config, root / control, command=""
        )
        rows.append((control, card["scores"][0]["rows"][0]))
    chance, ceiling = find_row(card, "prior", part="chance"), card["ceiling"]
    print(f"\n{'control':<12}{rows[0][1]['name']:>7}   95 % interval over subjects")
    for control, row in rows:
        print(
            f"{control:<12}{row['mean']:>7.3f}   {row['low']:.3f} - {row['high']:.3f}"
        )
    if ceiling:  # of an emotion task: an ideal observer's
        oracle = oracle_scores(
            config.data.dataset, config.data.data_dir, len(clips.classes)
        )
        print(f"{'oracle':<12}{oracle.uf1:>7.3f}   reads the true AU intensities")
        print(f"{'ceiling':<12}{ceiling['uf1']:>7.3f}   of the dataset")
    between = f"{chance['low']:.3f} - {chance['high']:.3f}"
    print(f"{'chance':<12}{chance['value']:>7.3f}   {between} for 95 % of guessers")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=command.parse)
