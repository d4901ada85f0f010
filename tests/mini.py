"""The smallest run there is, shared by the tests: 24 clips, a one-block model."""

import os
import runpy
import signal
import subprocess
import sys
import unittest.mock
from pathlib import Path

from ml_collections import ConfigDict

from configs import common, synthetic
from merclip_jax import build, experiment
from merclip_jax.data import folds
from merclip_jax.data.clips import Clips
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.models import mer_clip
from merclip_jax.training import packed
from merclip_jax.training.stack import Plan
from tests import xla

DATASET = "synthetic/mini"
ROOT = Path(__file__).parents[1]
NANO = mer_clip.Size(
    width=32,
    layers=1,
    heads=2,
    patch_size=16,
    global_layers=(0,),
    embed=32,
    text_width=32,
    text_layers=1,
    text_heads=2,
)
# What the runs of the tests share, so that they share compiled programs too.
VALUES = {
    "data.dataset": DATASET,
    "data.frames": 8,
    "data.image_size": 32,
    "model.size": "nano",
    "train.epochs": 5,
    "train.batch_size": 8,
    "train.scan_steps": 2,
    "train.checkpoint_every": 1,
    "train.stack": 2,
    "optim.peak_lr": 2e-3,
    "optim.warmup_epochs": 1,
}
mer_clip.SIZES["nano"] = NANO
# Of a compiled program: XLA's emitters of today, not those of `conftest.py`.
EMITTERS = {"xla_cpu_use_fusion_emitters": True} if xla.OLDER_EMITTERS else {}


def config(data_dir: Path, changes: dict | None = None) -> ConfigDict:
    """Three classes, three subjects, left out one at a time."""
    made = synthetic.tiny(3)
    values = VALUES | {"data.data_dir": str(data_dir)} | (changes or {})
    made.update_from_flattened_dict(values)
    return common.finish(made, None)


def model(
    size: mer_clip.Size,
    *,
    classes: int,
    frames: int = 16,
    learn_bias: bool = False,
    **options,
) -> mer_clip.MerClip:
    """A MER-CLIP of a size that has no name."""
    with unittest.mock.patch.dict(mer_clip.SIZES, {"unnamed": size}):
        return mer_clip.mer_clip(
            mer_clip.MerClipOptions(size="unnamed", **options),
            classes=classes,
            frames=frames,
            learn_bias=learn_bias,
        )


def members(config: ConfigDict, clips: Clips) -> list[folds.Member]:
    """The members of a config's protocol."""
    return _members(build.options(ProtocolOptions, config, "protocol"), clips)


def members_of(job: build.Job) -> list[folds.Member]:
    """The members of a job."""
    return _members(job.protocol, job.clips)


def _members(protocol: ProtocolOptions, clips: Clips) -> list[folds.Member]:
    parts = folds.split(protocol, clips.subject, clips.label, splits=clips.split)
    return folds.members(parts, protocol.seeds)


def plan(data_dir: Path, clips: Clips, **changes: object) -> Plan:
    """The plan of a config with changes, "__" for the dots."""
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return experiment.plan_of(build.job(config(data_dir, changes), clips))


def get_config(arg: str) -> ConfigDict:
    """`config` as the command line takes it: tests/mini.py:DATA_DIR."""
    return config(Path(arg))


def on_devices(count: int, code: str, *arguments: object) -> None:
    """Run Python code in a process of its own, with `count` simulated devices."""
    devices = f"--xla_force_host_platform_device_count={count}"
    env = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {devices}",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def start(
    data_dir: Path,
    workdir: Path,
    cache: Path,
    *flags: str,
    before: tuple[str, ...] = (),
    **options,
) -> subprocess.Popen:
    """`python -m merclip_jax.main` in a process of its own, the nano size known."""
    command = [
        *before,
        sys.executable,
        "-m",
        "tests.mini",
        f"--config={__file__}:{data_dir}",
        f"--workdir={workdir}",
        f"--compile_cache={cache}",
        *flags,
    ]
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(command, env=env, cwd=workdir.parent, **options)


if __name__ == "__main__":
    # A shell ignores it for what it runs behind itself, and a run would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if small := os.environ.get("MINI_SMALL"):  # its arrays are small ones
        packed.SMALL = int(small)
    runpy.run_module("merclip_jax.main", run_name="__main__", alter_sys=True)
