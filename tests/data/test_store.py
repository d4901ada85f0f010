"""The clip store: both residencies give the same bits."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from data_builders.tasks import TASKS
from merclip_jax.data import store
from merclip_jax.data.batches import member_batches, stack_batches
from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.gather import gather
from merclip_jax.data.records import load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from tests import mini

INDEX = np.asarray([[3, 3, 0], [23, 7, 3]])


VIEW = View(frames=4, image_size=32)


@pytest.fixture(scope="module")
def clips(mini_data):
    options = DataOptions(
        dataset=mini.DATASET,
        data_dir=str(mini_data),
        classes=TASKS["synthetic_3class"].classes,
    )
    return load_clips(options, VIEW)


@pytest.fixture(scope="module")
def here():
    return SingleDeviceSharding(jax.devices()[0])


def frames(made, here, index, positions=None):
    """What a step sees of some clips, wherever they are."""
    held, sent = made.held(here), made.put(index, positions, here)
    return np.asarray(gather(held, sent, made.clips.view.shape[1:]))


@pytest.fixture(scope="module")
def device(clips):
    return store.ClipStore(clips, residency="device")


@pytest.fixture(scope="module")
def host(clips):
    return store.ClipStore(clips, residency="host")


@pytest.fixture(scope="module")
def drawn(clips):
    """Clips whose training frames are drawn anew at every step."""
    uniform = dataclasses.replace(VIEW, sampling="uniform")
    return dataclasses.replace(clips, view=uniform)


def test_the_device_holds_the_sampled_frames_as_uint8(device, clips, here):
    held = device.held(here)
    assert held.dtype == np.uint8
    assert held.shape == (24 * 4, 24, 128)  # 32 x 32 x 3 in rows of lanes
    for i in range(len(clips)):
        np.testing.assert_array_equal(
            frames(device, here, np.asarray(i)), clips.decode(i)
        )


def test_the_device_is_sent_rows_and_the_host_sends_frames(device, host, here):
    rows = device.put(INDEX, None, here)
    assert rows.shape == (2, 3, 4) and rows.dtype == np.int32
    assert host.held(here).size == 0
    sent = host.put(INDEX, None, here)
    assert sent.shape == (2, 3, 4, 32, 32, 3) and sent.dtype == np.uint8
    for made, there in ((device, rows), (host, sent)):
        promised = made.sent_shape
        assert (2, 3, *promised.shape) == there.shape
        assert promised.dtype == there.dtype
        assert made.held_shape.shape == made.held(here).shape
    np.testing.assert_array_equal(
        frames(device, here, INDEX), frames(host, here, INDEX)
    )


def test_drawn_frames_are_the_same_on_both(drawn, here):
    device = store.ClipStore(drawn, residency="device")
    host = store.ClipStore(drawn, residency="host")
    lengths = drawn.spans[:, 1] - drawn.spans[:, 0] + 1
    assert len(device.held(here)) == lengths.sum()
    rng = np.random.default_rng(0)
    for index in INDEX:
        positions = drawn.draw(index, rng)
        assert positions.shape == (3, 4)
        first, last = drawn.spans[index].T
        assert (positions >= first[:, None]).all()
        assert (positions <= last[:, None]).all()
        clips = frames(host, here, index, positions)
        np.testing.assert_array_equal(clips, frames(device, here, index, positions))
        for one, i, at in zip(clips, index, positions, strict=True):
            np.testing.assert_array_equal(one, drawn.decode(int(i), at))
    np.testing.assert_array_equal(
        frames(device, here, INDEX), frames(host, here, INDEX)
    )


def test_only_uniform_sampling_draws(clips, drawn):
    index = np.asarray([3, 3, 7])
    rngs = [np.random.default_rng(seed) for seed in range(8)]
    fixed = [clips.draw(index, rng) for rng in rngs]
    assert all((one == clips.positions[index]).all() for one in fixed)
    assert len({tuple(drawn.draw(index, rng).ravel()) for rng in rngs}) > 1


def test_the_host_decodes_a_clip_once_a_batch(host, here, monkeypatch):
    asked = []

    def decode(self, index, positions):
        asked.append(index)
        return np.zeros(self.view.shape, np.uint8)

    monkeypatch.setattr(Clips, "decode", decode)
    host.put(INDEX, None, here)
    assert sorted(asked) == [0, 3, 7, 23]


@pytest.fixture(scope="module")
def batches(clips):
    members = [
        member_batches(
            np.arange(24), np.zeros(24, int), clips.draw, seed=seed, batch_size=3
        )
        for seed in (0, 1)
    ]
    return stack_batches(members, start=4, stop=12, scan_steps=2)


@pytest.mark.parametrize("where", ["device", "host"])
def test_threads_keep_the_order(device, host, batches, here, where):
    made = {"device": device, "host": host}[where]
    ahead = list(made.ahead(batches, here))
    assert len(ahead) == len(batches) == 4
    for (index, sent), wanted in zip(ahead, batches, strict=True):
        np.testing.assert_array_equal(index, wanted[0])
        assert isinstance(sent, jax.Array)
        np.testing.assert_array_equal(sent, made.put(*wanted, here))


@pytest.mark.parametrize(("room", "residency"), [(1, "host"), (2**30, "device")])
def test_auto_chooses_by_size(clips, here, monkeypatch, room, residency):
    monkeypatch.setattr(store, "_room", lambda: room)
    few = dataclasses.replace(
        clips, positions=clips.positions[:2], spans=clips.spans[:2]
    )
    there = "device" if store.ClipStore(few).held(here).size else "host"
    assert there == residency


def test_unknown_residency(clips):
    with pytest.raises(
        (ValueError, UserError), match="residency='cloud': expected one of"
    ):
        store.ClipStore(clips, residency="cloud")


def test_an_error_in_a_thread_reaches_the_caller(host, batches, here, monkeypatch):
    def decode(self, index, positions):
        raise UserError(f"clip {index} is damaged")

    monkeypatch.setattr(Clips, "decode", decode)
    with pytest.raises(UserError, match=r"clip \d+ is damaged"):
        list(host.ahead(batches, here))
