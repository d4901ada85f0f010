"""A stack on several devices learns what it learns on one."""

import numpy as np
import pytest

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
data, out, count, shape = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
count = int(count)
assert jax.device_count() == 4
config = mini.config(data, {"train.epochs": 1, "protocol.seeds": (0, 1, 2)})
clips = build.clips(config)
members = mini.members(config, clips)[:count]
plan = experiment.plan_of(build.job(config, clips))
everything = jax.devices()
for devices in (1, 4):
    jax.devices = lambda: everything[:devices]
    stack = Stack(plan, members, count)
    mesh = stack.mesh
    assert f"{mesh.shape['member']}x{mesh.shape['data']}" == {1: "1x1", 4: shape}[
        devices
    ], mesh.shape
    loop.train_members(stack, members, Workdir(out / str(devices)))
"""


@pytest.mark.parametrize(
    ("members", "shape"),
    [
        (1, "1x4"),
        (2, "2x2"),
        pytest.param(4, "4x1", marks=pytest.mark.long),
        (8, "4x1"),
    ],
)
def test_four_devices_agree_with_one(mini_data, tmp_path, members, shape):
    """Such as two members by two halves of a batch, against one device: rtol 2e-4.

    The batch's statistics and gradients are summed in halves, so the last bits of
    float32 differ; one epoch of Adam keeps them small.
    """
    mini.on_devices(4, SHARDED, mini_data, tmp_path, members, shape)
    one, four = files_of(tmp_path / "1"), files_of(tmp_path / "4")
    assert one.keys() == four.keys()
    assert len(one) == members
    for name, arrays in one.items():
        for key, array in arrays.items():
            if key == "clip":
                assert array.tolist() == four[name][key].tolist()
            else:
                np.testing.assert_allclose(
                    four[name][key], array, rtol=2e-4, atol=2e-4, err_msg=key
                )
