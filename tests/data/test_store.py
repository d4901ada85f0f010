"""The clip store: both residencies give the same bits."""

import dataclasses

import jax
import numpy as np
import pytest

from data_builders.tasks import TASKS
from merclip_jax.data import source, store
from merclip_jax.data.batches import member_batches, stack_batches
from merclip_jax.errors import UserError
from tests import mini

INDEX = np.asarray([[3, 3, 0], [23, 7, 3]])


@pytest.fixture(scope="module")
def clips(mini_data):
    return source.load_clips(
        mini.DATASET,
        data_dir=str(mini_data),
        classes=TASKS["synthetic_3class"].classes,
        frames=4,
        image_size=32,
    )


@pytest.fixture(scope="module")
def device(clips):
    return store.ClipStore(clips, residency="device")


@pytest.fixture(scope="module")
def host(clips):
    return store.ClipStore(clips, residency="host")


@pytest.fixture(scope="module")
def drawn(clips):
    """Clips whose training frames are drawn anew at every step."""
    return dataclasses.replace(clips, drawn=True)


def test_the_device_holds_the_sampled_frames_as_uint8(device, clips):
    assert isinstance(device.resident, jax.Array)
    assert device.resident.dtype == np.uint8
    assert device.resident.shape == (24 * 4, 32, 32, 3)
    for i in range(len(clips)):
        rows = device.frames(np.asarray(i))
        np.testing.assert_array_equal(device.resident[rows], clips.decode(i))


def test_the_host_decodes_what_the_device_holds(device, host):
    assert host.resident is None
    clips = host.frames(INDEX)
    assert clips.shape == (2, 3, 4, 32, 32, 3)
    rows = device.frames(INDEX)
    assert rows.shape == (2, 3, 4) and rows.dtype == np.int32
    np.testing.assert_array_equal(clips, np.asarray(device.resident)[rows])


def test_drawn_frames_are_the_same_on_both(drawn):
    device = store.ClipStore(drawn, residency="device")
    host = store.ClipStore(drawn, residency="host")
    lengths = drawn.spans[:, 1] - drawn.spans[:, 0] + 1
    assert len(device.resident) == lengths.sum()
    rng = np.random.default_rng(0)
    for index in INDEX:
        positions = drawn.draw(index, rng)
        assert positions.shape == (3, 4)
        first, last = drawn.spans[index].T
        assert (positions >= first[:, None]).all()
        assert (positions <= last[:, None]).all()
        clips = host.frames(index, positions)
        rows = device.frames(index, positions)
        np.testing.assert_array_equal(clips, np.asarray(device.resident)[rows])
        for one, i, at in zip(clips, index, positions, strict=True):
            np.testing.assert_array_equal(one, drawn.decode(int(i), at))
    tests = np.asarray(device.resident)[device.frames(INDEX)]
    np.testing.assert_array_equal(tests, host.frames(INDEX))


def test_only_uniform_sampling_draws(clips, drawn):
    index = np.asarray([3, 3, 7])
    rngs = [np.random.default_rng(seed) for seed in range(8)]
    fixed = [clips.draw(index, rng) for rng in rngs]
    assert all((one == clips.positions[index]).all() for one in fixed)
    assert len({tuple(drawn.draw(index, rng).ravel()) for rng in rngs}) > 1


def test_the_host_decodes_a_clip_once_a_batch(host, clips, monkeypatch):
    asked = []

    def decode(self, index, positions):
        asked.append(index)
        return np.zeros(self.shape, np.uint8)

    monkeypatch.setattr(source.Clips, "decode", decode)
    host.frames(INDEX)
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


def test_threads_keep_the_order(host, batches):
    ahead = list(host.ahead(batches))
    assert len(ahead) == len(batches) == 4
    for (index, clips), wanted in zip(ahead, batches, strict=True):
        np.testing.assert_array_equal(index, wanted[0])
        np.testing.assert_array_equal(clips, host.frames(*wanted))


def test_the_device_streams_rows_only(device, batches):
    for (index, rows), wanted in zip(device.ahead(batches), batches, strict=True):
        np.testing.assert_array_equal(index, wanted[0])
        assert rows.shape == (*index.shape, 4) and rows.dtype == np.int32


@pytest.mark.parametrize(("room", "residency"), [(1, "host"), (2**30, "device")])
def test_auto_chooses_by_size(clips, monkeypatch, room, residency):
    monkeypatch.setattr(store, "_room", lambda: room)
    few = dataclasses.replace(
        clips, positions=clips.positions[:2], spans=clips.spans[:2]
    )
    assert store.ClipStore(few).residency == residency


def test_unknown_residency(clips):
    with pytest.raises((ValueError, UserError), match="device, host or auto: 'cloud'"):
        store.ClipStore(clips, residency="cloud")


def test_an_error_in_a_thread_reaches_the_caller(host, batches, monkeypatch):
    def decode(self, index, positions):
        raise UserError(f"clip {index} is damaged")

    monkeypatch.setattr(source.Clips, "decode", decode)
    with pytest.raises(UserError, match=r"clip \d+ is damaged"):
        list(host.ahead(batches))
