"""The whole way at real size on this machine: seconds and peak memory by stage.

  python -m benchmarks.real_run --folder=/tmp/real

Made-up clips at camera size, a dozen of them with an emotion of the task, laid out like
CASME II's selected tree, and random weights in the layout of UniFormerV2's published
file; then what a user runs: build, convert, and MER-CLIP B/16 on 16x224x224 by
`configs/casme2_3class.py`, one subject held out, two epochs, killed after the first and
run again, to card and report.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags
from safetensors.numpy import save_file

from benchmarks.builders import make_clips
from merclip_jax import command
from merclip_jax.errors import UserError
from merclip_jax.results.card import find_row, read_card
from tests.weights.made import fill, listed

FOLDER = flags.DEFINE_string("folder", None, "An empty folder for all of it.")
CLIPS = flags.DEFINE_integer("clips", 16, "Of as many subjects; three of four count.")
MORE = flags.DEFINE_list("more", [], "More flags of the training.")
KEYS = Path("tests/golden/keys_uniformer_v2_b16.txt")


def stage(name: str, *arguments: str, stop_at: Path | None = None) -> None:
    """Run a module as a command; print its seconds, status and peak memory.

    Args:
        name: of the stage.
        arguments: module and flags.
        stop_at: a file; once it has a line the process is killed.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *arguments])
    while stop_at and not (stop_at.exists() and stop_at.read_text().count("\n")):
        if process.poll() is not None:
            raise UserError(f"{name}: ended with {process.returncode} by itself")
        time.sleep(0.2)
    if stop_at:
        time.sleep(1)  # the checkpoint of that epoch is written by a thread
        process.send_signal(signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    print(
        f"STAGE {name:<34}{seconds:>8.1f} s{used.ru_maxrss / 1e6:>8.2f} GB"
        f"   {used.ru_utime + used.ru_stime:.0f} CPU s, status {process.returncode}",
        flush=True,
    )
    if process.returncode and not stop_at:
        raise UserError(f"{name}: ended with {process.returncode}")


def main(_: list[str]) -> None:
    """Make the files, run the stages."""
    folder = Path(FOLDER.value)
    owners, data, run = folder / "owners", folder / "data", folder / "run"
    make_clips(owners, CLIPS.value, folder / "pool")
    save_file(fill(listed(KEYS)), folder / "uniformer_v2.safetensors")
    stage(
        "build the dataset",
        "data_builders.build",
        "--dataset=casme2/selected",
        f"--manual_dir={owners}",
        f"--data_dir={data}",
        "--faces=csv",
        f"--landmarks={owners / 'landmarks.csv'}",
    )
    stage(
        "convert the weights",
        "merclip_jax.convert",
        f"--src={folder / 'uniformer_v2.safetensors'}",
        f"--dst={folder / 'weights'}",
    )
    training = (
        "merclip_jax.main",
        "--config=configs/casme2_3class.py",
        f"--workdir={run}",
        "--config.data.dataset=casme2/selected",
        f"--config.data.data_dir={data}",
        f"--config.init.vision={folder / 'weights'}",
        "--config.protocol.name=holdout",
        "--config.protocol.test_subjects=('casme2/sub01',)",
        "--config.train.epochs=2",
        "--config.train.scan_steps=0",  # so that the first epoch is a dispatch
        "--config.train.checkpoint_every=1",
        *MORE.value,
    )
    stage("what it will need (--dry_run)", *training, "--dry_run")
    log = run / "scalars" / "round1of1.jsonl"
    stage("training, killed in epoch 2", *training, stop_at=log)
    stage("the same again, to the report", *training)
    card = read_card(run / "card.json")
    print(f"card: UF1 {find_row(card, 'uf1')['mean']:.3f} on {CLIPS.value} clips")


if __name__ == "__main__":
    flags.mark_flag_as_required("folder")
    app.run(main, flags_parser=command.parse)
