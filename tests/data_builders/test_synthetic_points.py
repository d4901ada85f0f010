"""The true landmarks of procedural faces: on the features, and moved as the skin is."""

import dataclasses

import numpy as np
import pytest

from data_builders.synthetic import render
from data_builders.synthetic.builder import describe
from data_builders.synthetic.clip import assignments, clip_truth, make_clip
from data_builders.synthetic.config import APART, FULL, MINI, TINY
from data_builders.synthetic.emotions import aus_of
from data_builders.synthetic.face import Face
from data_builders.synthetic.face_points import face_points, to_pixels
from data_builders.synthetic.fields import AUS
from data_builders.synthetic.looks import draw_looks, landmarks
from merclip_jax.faces import align as faces

# iBUG's points and their mirror images.
MIRROR = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
MIRROR += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
MIRROR += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
MIRROR += [64, 63, 62, 61, 60, 67, 66, 65]


@pytest.fixture(params=range(8))
def look(request):
    return draw_looks(np.random.default_rng(request.param), 1.0, 0.3, 0.3)


def test_points_are_where_the_features_are(look):
    points, anchor = face_points(look), landmarks(look)
    right = points - [0.5, 0]  # x from the midline
    assert points.shape == (68, 2)
    assert np.hypot(*(right[45] - anchor["eye_out"])) < 0.01
    for lids, name in (([43, 44], "lid_up"), ([46, 47], "lid_low")):
        assert np.hypot(*(right[lids].mean(0) - anchor[name])) < 0.012
    for point, name in ((22, "brow_in"), (24, "brow_mid"), (26, "brow_out")):
        assert np.hypot(*(right[point] - anchor[name])) < 0.026, name
    assert np.hypot(*(right[54] - anchor["mouth_corner"])) < 0.01
    assert 0 < anchor["lip_low"][1] - right[51, 1] and right[57, 1] > right[51, 1]
    assert right[8, 1] > anchor["chin"][1] and abs(right[8, 0]) < 0.01
    assert right[33, 1] > right[30, 1] > right[27, 1]


def test_points_are_numbered_as_ibug_numbers_them(look):
    points = face_points(look)
    mirrored = points[MIRROR] * [-1, 1] + [1, 0]
    np.testing.assert_allclose(mirrored, points, atol=2e-3)
    # A face is widest below its eyes.
    for line in (range(2, 15), range(17, 27), range(31, 36), range(48, 55)):
        assert (np.diff(points[list(line), 0]) > 0).all(), line  # left to right
    for eye in ([36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47]):
        x, y = points[eye].T
        assert x.argmin() == 0 and x.argmax() == 3
        assert y[[1, 2]].max() < y[[0, 3]].min() < y[[4, 5]].min()
    assert (np.diff(points[:9, 1]) > 0).all()  # down to the chin
    matrix = faces.align_matrix(to_pixels(points, 224), size=224)
    assert abs(matrix[0, 1]) < 1e-6  # the eyes are level


@pytest.mark.parametrize("point", [8, 19, 30, 37, 46, 51, 54, 57])
@pytest.mark.parametrize("config", [APART, FULL], ids=["apart", "full"])
def test_a_dot_on_the_skin_moves_as_its_point_does(config, point, monkeypatch):
    """The subject's picture is all black but for a dot where the point is."""
    config = dataclasses.replace(
        config, noise=0.0, flicker=0.0, shade=1e-6, encoding="png", drift_px=1.0
    )
    index = next(
        i
        for i in range(0, config.clips, 7)
        if {4, 12, 15, 5, 25} & {n for n, _ in aus_of(clip_truth(config, i).au_cell)}
    )
    face, fields = render.subject_face(config, assignments(config)[index][0])
    at = to_pixels(face.points, config.size)[point]
    fine = config.size * config.supersample
    y, x = (np.mgrid[:fine, :fine] + 0.5) / config.supersample - 0.5
    half = 0.5 / config.supersample  # as `render` shifts a picture that was blurred
    spot = 255 * np.exp(
        -((x - at[0] - half) ** 2 + (y - at[1] - half) ** 2) / (2 * 0.8**2)
    )
    dotted = Face(
        np.repeat(spot.astype(np.float32)[..., None], 3, -1),
        face.landmarks,
        face.points,
    )
    monkeypatch.setattr(render, "subject_face", lambda *_: (dotted, fields))
    clip = make_clip(config, index)
    assert clip.points.dtype == np.float32
    rows, columns = np.mgrid[: config.size, : config.size]
    moved = np.hypot(*(clip.points[:, point] - at).T)
    assert moved.max() > 0.5
    for frame, where in zip(clip.frames, clip.points[:, point], strict=True):
        if not 2 < where[1] < config.size - 3:
            continue  # the chin lies at the picture's edge
        weight = frame[..., 0].astype(float) ** 2  # skin that is stretched about it
        found = np.array([(weight * columns).sum(), (weight * rows).sum()])
        assert np.hypot(*(found / weight.sum() - where)) < 0.4


def test_frames_are_what_they_were_and_points_begin_where_the_face_is():
    clip = make_clip(MINI, 3)
    face, _ = render.subject_face(MINI, assignments(MINI)[3][0])
    still = to_pixels(face.points, MINI.size)
    assert clip.points.shape == (len(clip.frames), 68, 2)
    # At the onset there is nothing but the head's pose.
    assert np.abs(clip.points[clip.onset] - still).max() < 5 * MINI.drift_px
    again = make_clip(MINI, 3)
    np.testing.assert_array_equal(again.points, clip.points)
    for points in clip.points:
        faces.align_matrix(points, size=64)


def test_apart_has_every_au_and_nothing_else_moves():
    truths = [clip_truth(APART, i) for i in range(APART.clips)]
    subjects = {au: set() for au in AUS}
    for truth in truths:
        numbers = {number for number, _ in aus_of(truth.au_cell)}
        for number in numbers:
            subjects[number].add(truth.subject)
        moving = truth.au_intensity.any(0)
        assert {AUS[row // 2] for row in np.flatnonzero(moving)} == numbers
        assert truth.decoy_cells == ()
    assert min(map(len, subjects.values())) >= 3  # trained on, and tested on
    (note,) = describe(APART)["notes"]
    assert "single picture of its apex" in note
    assert "single picture" not in describe(TINY)["notes"][0]
