"""Landmarks under a view, and frames that are aligned by their own."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from data_builders.records import contents
from data_builders.tasks import TASKS
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.decode import decode_frame, decode_points
from merclip_jax.data.record import build_command, points_of_frames
from merclip_jax.data.records import find, load_clips
from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.faces import align as faces
from tests import mini
from tests.faces.test_align import expect_golden

TASK = TASKS["synthetic_3class"].classes
FDP = View(frames=8, image_size=64, grey=True, sampling="stride", align="frame")


def load(data_dir, view):
    options = DataOptions(dataset=mini.DATASET, data_dir=str(data_dir), classes=TASK)
    return load_clips(options, view)


@pytest.fixture(scope="module")
def records(mini_data):
    return list(contents.read_back(find(mini.DATASET, str(mini_data))))


def dot(height, width, at):
    """A picture with a soft bright dot, uint8 [h, w, 3]."""
    y, x = np.mgrid[:height, :width]
    spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 18)
    return np.repeat((spot * 255).astype(np.uint8)[..., None], 3, -1)


def centre(image):
    """Where the dot lies: x, y of its centre of mass."""
    weight = image[..., 0].astype(np.float64)
    weight = np.where(weight == 128, 0, weight)  # the border
    y, x = np.mgrid[: len(image), : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def encode(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("size", [(90, 120), (131, 100), (48, 48), (64, 80)])
@pytest.mark.parametrize("resize", [0, 72])
def test_points_fall_where_the_pixels_fall(size, resize):
    view = View(frames=3, image_size=48, resize=resize)
    at = np.array([size[1] * 0.55, size[0] * 0.45])
    data = encode(dot(*size, at))
    (point,) = decode_points(data, at[None], view, clip="c", position=0)
    image = decode_frame(data, view, clip="c", position=0)
    assert point.dtype == np.float32
    np.testing.assert_allclose(centre(image), point, atol=0.15)


def face(x=100.0, y=80.0, angle=0.0):
    """Five points of a face, float64 [5, 2]."""
    points = np.array([[-20, -10], [20, -10], [0, 8], [-13, 26], [13, 26.0]])
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return points @ np.array([[c, s], [-s, c]]) + [x, y]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("angle", [-20, 0, 13])
def test_an_aligned_frame_has_its_points_where_they_belong(angle, grey):
    view = View(frames=3, image_size=64, align="frame", grey=grey)
    points = face(angle=angle)
    data = encode(dot(160, 200, points[2]))
    image = decode_frame(data, view, clip="c", position=0, points=points)
    assert image.shape == (64, 64, 1 if grey else 3)
    found = decode_points(data, points, view, clip="c", position=0)
    np.testing.assert_allclose(centre(image), found[2], atol=0.2)
    assert found[0, 1] == pytest.approx(found[1, 1], abs=1e-4)
    # Whatever the head's pose, the aligned points are the same.
    straight = decode_points(data, face(80, 60), view, clip="c", position=0)
    np.testing.assert_allclose(found, straight, atol=1e-3)


def test_grey_is_the_decoders_and_comes_before_the_warp(records):
    """FDP's input: OpenCV's grey of the stored picture, one warp, border 128."""
    record = records[0]
    points = points_of_frames(record)[4]
    data = record["frames"][4]
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    matrix = faces.align_matrix(points, size=64, margin=2.5)
    wanted = cv2.warpAffine(grey, matrix, (64, 64), borderValue=(128, 128, 128))
    found = decode_frame(data, FDP, clip="c", position=4, points=points)
    np.testing.assert_array_equal(found[..., 0], wanted)
    away = face(-40, -20)
    out = decode_frame(data, FDP, clip="c", position=4, points=away)
    assert (out == 128).any()


def test_an_aligned_frame_equals_fdps_official_code(golden):
    numbers = np.load(golden / "align.npz")
    view = View(frames=8, image_size=64, sampling="stride", align="frame")
    data, points = encode(numbers["img"]), numbers["land68"]
    out = decode_frame(data, view, clip="c", position=0, points=points)
    expect_golden(out, numbers["out"])
    found = decode_points(data, points, view, clip="c", position=0)
    np.testing.assert_allclose(found, numbers["new_land"], atol=1e-5)
    # It turns to grey behind the warp, by PIL: of a JPEG that is a level at most.
    jpeg = cv2.imencode(".jpg", numbers["img"][..., ::-1])[1].tobytes()
    colour = decode_frame(jpeg, view, clip="c", position=0, points=points)
    theirs = np.asarray(Image.fromarray(colour).convert("L"), int)
    ours = decode_frame(jpeg, FDP, clip="c", position=0, points=points)[..., 0]
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("points", [None, np.zeros((5, 2)), np.zeros((4, 2))])
def test_a_frame_that_cannot_be_aligned_is_named(points):
    data = encode(dot(40, 40, (20, 20)))
    with pytest.raises(UserError, match="clip s/a: frame 3 cannot be aligned"):
        decode_frame(data, FDP, clip="s/a", position=3, points=points)


def test_landmarks_of_clips_are_the_records(mini_data, records):
    same = load(mini_data, View(frames=8, image_size=32))
    stored = np.stack([record["landmarks"] for record in records])
    assert same.landmarks.shape == (24, 68, 2)
    assert same.landmarks.dtype == np.float32
    np.testing.assert_allclose(same.landmarks, stored, atol=1e-5)
    twice = load(mini_data, View(frames=8, image_size=56, resize=64))
    np.testing.assert_allclose(twice.landmarks, (stored + 0.5) * 2 - 0.5 - 4, atol=1e-4)
    part = twice.take(np.asarray([7, 2]))
    np.testing.assert_array_equal(part.landmarks, twice.landmarks[[7, 2]])


def test_each_frame_is_aligned_by_its_own_points(mini_data, records):
    clips = load(mini_data, FDP)
    assert clips.view.contract == "onset-offset"
    for i in (0, 11):
        frames = clips.decode(i)
        assert frames.shape == (8, 64, 64, 1) and frames.dtype == np.uint8
        length = len(records[i]["frames"])
        positions = np.arange(8) * (length // 8)
        assert clips.positions[i].tolist() == positions.tolist()
        points = points_of_frames(records[i])
        for frame, p in zip(frames, positions, strict=True):
            alone = decode_frame(
                *(records[i]["frames"][p], FDP), clip="", position=0, points=points[p]
            )
            np.testing.assert_array_equal(frame, alone)
    five = [faces.five_points(points) for points in clips.landmarks]
    np.testing.assert_allclose([f[0, 1] - f[1, 1] for f in five], 0, atol=1e-3)
    np.testing.assert_allclose(
        [np.ptp(f, axis=0).max() for f in five], 63 / 2.5, atol=1e-3
    )
    np.testing.assert_array_equal(clips.decode(3), load(mini_data, FDP).decode(3))


def changed(clips, change):
    """Clips of records that a function has changed: (record, index) -> record."""
    made = [change(dict(clips.source[i]), i) for i in range(len(clips.source))]
    return dataclasses.replace(clips, source=made)


def test_records_without_landmarks_have_none(mini_data):
    """Older ones have no such feature; whoever needs no landmarks reads them on."""
    clips = load(mini_data, View(frames=8, image_size=32))

    def old(record, i):
        del record["frame_landmarks"]
        return record | {"landmarks": np.zeros((0, 2), np.float32)}

    before = changed(clips, old)
    assert before.landmarks.shape == (24, 0, 2)
    np.testing.assert_array_equal(before.decode(3), clips.decode(3))


def test_landmarks_that_do_not_divide_into_frames(records):
    record = records[0]
    with pytest.raises(ValueError, match="67 landmarks of"):
        points_of_frames(record | {"frame_landmarks": np.zeros((67, 2))})
    with pytest.raises(ValueError, match="0 landmarks of 0 frames"):
        points_of_frames({"frames": []})


@pytest.mark.parametrize("count", [0, 5])
def test_landmarks_of_some_clips_are_an_error(mini_data, count):
    clips = load(mini_data, View(frames=8, image_size=32))
    few = changed(
        clips,
        lambda record, i: record | ({"landmarks": face()[:count]} if i == 6 else {}),
    )
    with pytest.raises(UserError) as caught:
        _ = few.landmarks
    message = str(caught.value)
    assert f"clip {clips.clip[6]} has {count} landmarks" in message
    assert f"clip {clips.clip[0]} has 68" in message
    assert f"python -m data_builders.build --dataset={mini.DATASET}" in message


def test_the_command_adds_landmarks_and_leaves_the_pictures():
    start = "python -m data_builders.build --dataset=casme2/raw "
    start += "--manual_dir=FOLDER_OF_ITS_FILES "
    for crop, more in {
        "": "--faces=dlib --keep_pictures",
        "dlib 20, 68 points, pictures as they are": "--faces=dlib --keep_pictures",
        "dlib 20.0, 68 points, 256 px, margin 2.5": "--faces=dlib --size=256 "
        "--margin=2.5",
        "csv 0123456789ab, 224 px, margin 2.0, centre where no face": "--faces=csv "
        "--landmarks=PATH --size=224 --margin=2.0",
    }.items():
        command = build_command("casme2/raw", {"crop": crop})
        assert command == f"{start}{more} --every_frame --overwrite"
    assert "--faces" not in build_command("synthetic/tiny", {"ceiling": {}})


def test_short_clips_are_left_out_and_told(mini_data, records):
    lengths = np.array([len(record["frames"]) for record in records])
    least = int(np.sort(lengths)[5]) + 1
    view = dataclasses.replace(FDP, frames=least)
    clips = load(mini_data, view)
    long = lengths >= least
    names = np.array([record["clip"].decode() for record in records])
    assert clips.clip.tolist() == names[long].tolist() and 0 < long.sum() < 24
    (note,) = [note for note in clips.metadata["notes"] if "left out" in note]
    assert note == (
        f"{(~long).sum()} of 24 clips of the task have fewer than {least} frames and "
        f"are left out, the first {names[~long][0]}"
    )
    assert not any(
        "left out" in note for note in load(mini_data, FDP).metadata["notes"]
    )
    with pytest.raises(UserError, match="no clip of the task has the 200 frames"):
        load(mini_data, dataclasses.replace(FDP, frames=200))


def test_metadata_are_json(mini_data):
    json.dumps(load(mini_data, FDP).metadata)
