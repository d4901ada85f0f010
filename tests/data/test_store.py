"""The clip store: both residencies give the same bits."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import synthetic
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
        classes=synthetic.CLASSES[3],
        frames=4,
        image_size=32,
    )


@pytest.fixture(scope="module")
def device(clips):
    return store.ClipStore(clips, residency="device")


@pytest.fixture(scope="module")
def host(clips):
    return store.ClipStore(clips, residency="host")


def test_the_device_holds_every_clip_as_uint8(device, clips):
    assert isinstance(device.resident, jax.Array)
    assert device.resident.dtype == np.uint8
    assert device.resident.shape == (24, 4, 32, 32, 3)
    for i in range(len(clips)):
        np.testing.assert_array_equal(device.resident[i], clips.decode(i))


def test_the_host_decodes_what_the_device_holds(device, host):
    assert host.resident is None
    clips = host.decode(INDEX)
    assert clips.shape == (2, 3, 4, 32, 32, 3)
    np.testing.assert_array_equal(clips, np.asarray(device.resident)[INDEX])


def test_the_host_decodes_a_clip_once_a_batch(host, clips, monkeypatch):
    asked = []

    def decode(self, index):
        asked.append(index)
        return np.zeros(self.shape, np.uint8)

    monkeypatch.setattr(source.Clips, "decode", decode)
    host.decode(INDEX)
    assert sorted(asked) == [0, 3, 7, 23]


@pytest.fixture(scope="module")
def batches():
    members = [
        member_batches(np.arange(24), np.zeros(24, int), seed=seed, batch_size=3)
        for seed in (0, 1)
    ]
    return stack_batches(members, start=4, stop=12, scan_steps=2)


def test_threads_keep_the_order(host, batches):
    ahead = list(host.ahead(batches))
    assert len(ahead) == len(batches) == 4
    for (index, clips), wanted in zip(ahead, batches, strict=True):
        np.testing.assert_array_equal(index, wanted)
        np.testing.assert_array_equal(clips, host.decode(wanted))


def test_the_device_streams_indices_only(device, batches):
    ahead = list(device.ahead(batches))
    assert [clips for _, clips in ahead] == [None] * 4
    np.testing.assert_array_equal([index for index, _ in ahead], list(batches))


@pytest.mark.parametrize(("room", "residency"), [(1, "host"), (2**30, "device")])
def test_auto_chooses_by_size(clips, monkeypatch, room, residency):
    monkeypatch.setattr(store, "_room", lambda: room)
    few = dataclasses.replace(clips, clip=clips.clip[:2])
    assert store.ClipStore(few).residency == residency


def test_unknown_residency(clips):
    with pytest.raises((ValueError, UserError), match="device, host or auto: 'cloud'"):
        store.ClipStore(clips, residency="cloud")


def test_an_error_in_a_thread_reaches_the_caller(host, batches, monkeypatch):
    def decode(self, index):
        raise UserError(f"clip {index} is damaged")

    monkeypatch.setattr(source.Clips, "decode", decode)
    with pytest.raises(UserError, match=r"clip \d+ is damaged"):
        list(host.ahead(batches))
