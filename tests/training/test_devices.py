"""A stack on several devices learns what it learns on one."""

import numpy as np

from tests import mini
from tests.training.test_loop import files_of

SHARDED = """
import sys
from pathlib import Path

import jax

from merclip_jax import build, experiment
from merclip_jax.training import loop
from merclip_jax.training.stack import Stack
from merclip_jax.training.workdir import Workdir
from tests import mini

jax.config.update("jax_disable_most_optimizations", True)
data, out = Path(sys.argv[1]), Path(sys.argv[2])
assert jax.device_count() == 4
config = mini.config(data, {"train.epochs": 1})
clips = build.clips(config)
members = mini.members(config, clips)[:2]
plan = experiment.plan_of(build.job(config, clips))
everything = jax.devices()
for devices in (1, 4):
    jax.devices = lambda: everything[:devices]
    stack = Stack(plan, members, 2)
    mesh = stack.mesh
    assert mesh.shape == {1: {"member": 1, "data": 1}, 4: {"member": 2, "data": 2}}[
        devices
    ], mesh.shape
    loop.train_members(stack, members, Workdir(out / str(devices)))
"""


def test_four_devices_agree_with_one(mini_data, tmp_path):
    """Two members by two halves of a batch, against one device: rtol 2e-4.

    The batch's statistics and gradients are summed in halves, so the last bits of
    float32 differ; one epoch of Adam keeps them small.
    """
    mini.on_devices(4, SHARDED, mini_data, tmp_path)
    one, four = files_of(tmp_path / "1"), files_of(tmp_path / "4")
    assert one.keys() == four.keys()
    assert len(one) == 2
    for name, arrays in one.items():
        for key, array in arrays.items():
            if key == "clip":
                assert array.tolist() == four[name][key].tolist()
            else:
                np.testing.assert_allclose(
                    four[name][key], array, rtol=2e-4, atol=2e-4, err_msg=key
                )
