"""The flow from onset to apex: what it says, where it is kept, what interrupts it."""

import dataclasses
import importlib.metadata
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from data_builders.tasks import TASKS
from merclip_jax.data import flow
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import find, load_clips
from merclip_jax.data.several import merge
from merclip_jax.data.store import ClipStore
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from tests import mini

TASK = TASKS["synthetic_3class"].classes
VIEW = View(frames=2, image_size=32, sampling="onset_apex", flow=True)


def load(data_dir, view=VIEW):
    options = DataOptions(dataset=mini.DATASET, data_dir=str(data_dir), classes=TASK)
    return load_clips(options, view)


@pytest.fixture(scope="module")
def clips(mini_data):
    return load(mini_data)


def folder_of(clips):
    (name,) = set(clips.flows.tolist())
    return Path(name)


def files(clips):
    return sorted(folder_of(clips).iterdir())


def pattern(shift_x=0, shift_y=0, size=48):
    """A smooth random picture that is moved by whole pixels, uint8 [size, size]."""
    rng = np.random.default_rng(0)
    grid = np.fft.fft2(rng.standard_normal((64, 64)))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    smooth = np.fft.ifft2(grid * np.exp(-((radius / 0.08) ** 2))).real
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    moved = np.roll(smooth, (shift_y, shift_x), (0, 1))
    return moved[:size, :size].astype(np.uint8)


def test_flow_says_which_way_pixels_went():
    v, u = flow.tv_l1(pattern(), pattern(2, 1))
    inner = slice(12, -12)
    assert np.median(u[inner, inner]) == pytest.approx(2, abs=0.2)
    assert np.median(v[inner, inner]) == pytest.approx(1, abs=0.2)
    right = flow.flow_picture(pattern(), pattern(2, 1))[inner, inner]
    left = flow.flow_picture(pattern(), pattern(-2, -1))[inner, inner]
    assert np.median(right[..., 0]) > 200 and np.median(left[..., 0]) < 55
    assert right.dtype == np.uint8 and (right[..., 2] >= 127).all()


def test_no_motion_is_the_middle():
    still = flow.flow_picture(pattern(), pattern())
    assert still.shape == (48, 48, 3)
    assert (still == 128).all()


def test_strain_of_known_flows():
    y, x = np.mgrid[:20, :20].astype(float)
    inner = slice(1, -1)
    turned = flow.strain(-0.1 * y, 0.1 * x)  # a rotation strains nothing
    np.testing.assert_allclose(turned, 0, atol=1e-12)
    np.testing.assert_allclose(flow.strain(0.2 * x, 0 * x), 0.2)
    shear = flow.strain(0.2 * y, 0 * x)
    np.testing.assert_allclose(shear, 0.2 / np.sqrt(2))
    both = flow.strain(0.3 * x, -0.4 * y)
    np.testing.assert_allclose(both[inner, inner], 0.5)


def test_each_channel_fills_its_scale(clips):
    for i in range(3):
        (picture,) = clips.decode(i).astype(int)
        share = (picture - 127.5) / 127.5
        for channel in np.moveaxis(share, -1, 0):
            outside = (np.abs(channel) > 0.995).mean()
            assert 0.003 < outside < 0.02  # one in a hundred is clipped
        assert (picture[..., 2] >= 127).all()


def test_a_view_with_flow_is_one_picture(clips):
    assert clips.view.shape == (1, 32, 32, 3) and clips.view.contract.startswith("orac")
    first = clips.decode(0)
    assert first.shape == clips.view.shape and first.dtype == np.uint8
    assert clips.positions.shape == (24, 1) and (clips.apex == 0).all()
    pairs = load_pairs(clips)
    assert not pairs.view.flow
    onset, apex = pairs.decode(5)[..., 0]
    np.testing.assert_array_equal(clips.decode(5)[0], flow.flow_picture(onset, apex))
    # The landmarks are the onset's, as without the flow.
    np.testing.assert_array_equal(clips.landmarks, pairs.landmarks)
    part = clips.take(np.asarray([5, 1]))
    np.testing.assert_array_equal(part.decode(0), clips.decode(5))


def load_pairs(clips):
    data_dir = folder_of(clips).parents[3]
    return load(data_dir, dataclasses.replace(VIEW, flow=False, grey=True))


@pytest.mark.parametrize("residency", ["device", "host"])
def test_the_store_holds_flows_as_any_pictures(clips, residency):
    store = ClipStore(clips, residency=residency, threads=1)
    index = np.asarray([3, 0])
    if residency == "host":
        found = store._find(index, None, {})
        np.testing.assert_array_equal(found[0], clips.decode(3))
    else:
        rows = store._find(index, None, {})
        held = np.asarray(store._frames).reshape(-1, 32, 32, 3)
        np.testing.assert_array_equal(held[rows[0]], clips.decode(3))


def test_flows_are_kept_beside_the_versions(clips, mini_data, monkeypatch):
    folder = find(mini.DATASET, str(mini_data))
    assert folder_of(clips).parent == folder.parent / "flow"
    version = importlib.metadata.version("scikit-image")
    assert folder_of(clips).name == f"tvl1-15-0.3-5-10-p99-32px-32-skimage-{version}"
    assert len(files(clips)) == 24
    before = [clips.decode(i) for i in range(24)]

    def never(*args, **kwargs):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(flow, "tv_l1", never)
        again = load(mini_data)
    for i, picture in enumerate(before):
        np.testing.assert_array_equal(again.decode(i), picture)
    larger = load(mini_data, dataclasses.replace(VIEW, image_size=40))
    assert folder_of(larger) != folder_of(clips) and len(files(larger)) == 24
    # The dataset is still what it was, for whoever looks at all of its files.
    load(mini_data, View(frames=8, image_size=32))


def test_an_interrupted_computation_goes_on(mini_data, tmp_path, monkeypatch):
    shutil.copytree(mini_data, tmp_path, dirs_exist_ok=True)
    folder = find(mini.DATASET, str(tmp_path)).parent / "flow"
    shutil.rmtree(folder, ignore_errors=True)
    whole, left = flow.tv_l1, [9]

    def stopped(*pair):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return whole(*pair)

    with monkeypatch.context() as patch:
        patch.setattr(flow, "tv_l1", stopped)
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path)
    (kept,) = folder.iterdir()
    assert 1 <= len(list(kept.iterdir())) <= 9
    computed = []

    def counted(*pair):
        computed.append(1)
        return whole(*pair)

    there = len(list(kept.iterdir()))
    monkeypatch.setattr(flow, "tv_l1", counted)
    clips = load(tmp_path)
    assert len(computed) == 24 - there
    assert not [path for path in files(clips) if path.suffix != ".flow"]
    fresh = load(mini_data)
    for i in range(24):
        np.testing.assert_array_equal(clips.decode(i), fresh.decode(i))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_named(clips, damage):
    path = files(clips)[4]
    whole = path.read_bytes()
    flipped = bytes([*whole[:-1], whole[-1] ^ 1])
    made = {"cut": whole[:-9], "flipped": flipped, "empty": b""}[damage]
    path.write_bytes(made)
    try:
        with pytest.raises(UserError, match=f"{path.name}: damaged; delete it"):
            load(folder_of(clips).parents[3])
    finally:
        path.write_bytes(whole)


def test_flows_of_joined_datasets_are_those_that_are_kept(clips, monkeypatch):
    names = {n: np.char.add("other/", getattr(clips, n)) for n in ("clip", "subject")}
    both = merge([clips, dataclasses.replace(clips, **names)])
    before = clips.decode(3)

    def never(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr(flow, "tv_l1", never)
    for index in (3, 24 + 3):
        np.testing.assert_array_equal(both.decode(index), before)
    np.testing.assert_array_equal(both.take(np.asarray([27])).decode(0), before)


def test_a_place_that_cannot_be_written_to_is_named(clips, tmp_path):
    (tmp_path / "flow").write_bytes(b"")
    with pytest.raises(UserError, match="the flow cannot be kept"):
        flow.keep(tmp_path / "flow" / "x.flow", np.zeros((4, 4, 3), np.uint8))
    nowhere = dataclasses.replace(clips, flows=np.full(24, ""))
    np.testing.assert_array_equal(nowhere.decode(2), clips.decode(2))


def test_a_missing_library_says_what_to_type(mini_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.registration", None)
    with pytest.raises(UserError, match=r"pip install 'merclip_jax\[flow\]'"):
        flow.tv_l1(pattern(), pattern())

    def lacking(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lacking)
    with pytest.raises(UserError, match=r"pip install 'merclip_jax\[flow\]'"):
        load(mini_data)
