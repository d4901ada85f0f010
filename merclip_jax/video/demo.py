"""A model and a video to start with: procedural both, for no licence-free ME model is.

Made once by the very commands that anyone would type, and kept in the user's cache.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import merclip_jax
from merclip_jax.errors import UserError
from merclip_jax.weights import final

# Subjects whom the score is of; the final model knows them too.
_TESTED = tuple(f"synthetic/s{number:02d}" for number in (2, 5, 8))


def folder() -> Path:
    """Where the demonstration lies, by this version of the program."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "merclip_jax" / f"demo-{merclip_jax.__version__}"


def ready(*, changes: Sequence[str] = ()) -> tuple[Path, list[Path]]:
    """A model's folder and a video, made where they are not there yet.

    Args:
        changes: of the training's command, for tests.

    Raises:
        UserError: a command failed.
    """
    top = folder()
    top.mkdir(parents=True, exist_ok=True)
    run, video = top / "run", top / "procedural.mp4"
    began = time.monotonic()
    if not (run / "model" / final.FILE).exists():
        print(
            "A demonstration: procedural recordings are drawn and a small model is "
            f"trained on them, once; they are kept in {top}."
        )
        data = f"--data_dir={top / 'data'}"
        _command("data_builders.build", "--dataset=synthetic/windows", data)
        _command(
            "merclip_jax.main",
            "--config=window_synthetic",
            f"--workdir={run}",
            f"--config.data.data_dir={top / 'data'}",
            "--config.protocol.name=holdout",
            f"--config.protocol.test_subjects={_TESTED}",
            "--config.protocol.final_fit=True",
            *changes,
        )
    if not video.exists():
        half = video.with_name("half.mp4")
        _command("data_builders.synthetic.video", f"--out={half}")
        half.with_suffix(".json").rename(video.with_suffix(".json"))  # the truth
        half.rename(video)
        print(f"made in {time.monotonic() - began:.0f} s")
    return run, [video]


def _command(module: str, *flags: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *flags], stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise UserError(f"python -m {module} {' '.join(flags)} failed")
