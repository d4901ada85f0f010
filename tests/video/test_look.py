"""Faces followed, windows cut, events found: on procedural recordings with a truth."""

import dataclasses

import numpy as np
import pytest

from merclip_jax.data.view import View
from merclip_jax.faces.detectors import DlibLandmarks
from merclip_jax.video import events
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Picture, Video
from merclip_jax.video.events import Scored
from merclip_jax.video.follow import Face, follow
from merclip_jax.video.look import look
from merclip_jax.video.motion import moved, small_face
from merclip_jax.video.result import Settings
from merclip_jax.video.windows import Cutter
from tests.video import made


@pytest.fixture(scope="module")
def shown():
    """A script with one expression, its frames at 30 a second, and their times."""
    script = made.script(3)
    frames, times = made.pictures(script)
    return script, frames, times


@pytest.fixture(scope="module")
def points(shown):
    return shown[1][0].points()


@pytest.fixture(scope="module")
def film(shown, tmp_path_factory):
    return made.film(tmp_path_factory.mktemp("film") / "a.mkv", shown[0])


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    return made.Oracle(made.model(tmp_path_factory.mktemp("model")))


def seen(count, *, every=0.1):
    image = np.zeros((50, 50, 3), np.uint8)
    return [Picture(i, i * every, image) for i in range(count)]


def square(x, y, size=20.0):
    corners = np.array([[0, 0], [1, 0], [0.5, 0.5], [0.2, 1], [0.8, 1]])
    return corners * size + [x, y]


def test_a_face_keeps_its_number_and_goes_straight_between_two_looks():
    at = iter([0.0, 4.0, 8.0, 12.0])

    def find(image):
        return [(0.9, square(next(at), 0)), (0.5, square(100, 100, 10))]

    found = list(follow(seen(7), find, every=0.3))
    assert [len(faces) for _, faces in found] == [2] * 7
    assert {tuple(f.number for f in faces) for _, faces in found} == {(0, 1)}
    xs = [faces[0].points[0, 0] for _, faces in found]
    np.testing.assert_allclose(xs, np.arange(7) * 4 / 3, atol=1e-9)


def test_a_face_that_was_lost_comes_back_as_another():
    looks = iter([[(1.0, square(0, 0))], [], [(1.0, square(0, 0))]])
    found = list(follow(seen(7), lambda image: next(looks), every=0.3))
    assert [[f.number for f in faces] for _, faces in found] == [
        [0], [], [], [], [], [], [1]
    ]  # fmt: skip


def test_faces_that_jump_are_others():
    looks = iter([[(1.0, square(0, 0))], [(1.0, square(25, 0))]])
    found = list(follow(seen(4), lambda image: next(looks), every=0.3))
    assert [[f.number for f in faces] for _, faces in found] == [[0], [], [], [1]]


def test_motion_is_what_the_face_does_and_not_the_head(shown, points):
    """In hundredths of the face's width, whatever its size in the picture."""
    script, frames, times = shown
    (own,) = script.expressions
    small = [small_face(f.picture, f.points()) for f in frames]
    apex = int(np.abs(times - own.apex).argmin())
    before = int(np.abs(times - own.onset).argmin()) - 1
    assert moved(small[before], small[before]) == 0
    assert moved(small[before], small[apex]) > 0.4
    # The head has wandered between these, and turned.
    assert moved(small[0], small[before]) < 0.2
    # Landmarks a pixel beside the face's place change where it is cut out.
    aside = small_face(frames[before].picture, frames[before].points() + [1.0, 0.5])
    assert moved(small[before], aside) < 0.2
    large = [
        np.kron(frames[i].picture, np.ones((3, 3, 1), np.uint8)) for i in (before, apex)
    ]
    twice = [
        small_face(image, frames[i].points() * 3 + 1)
        for image, i in zip(large, (before, apex), strict=True)
    ]
    own_size = moved(small[before], small[apex])
    assert abs(moved(*twice) - own_size) < 0.3 * own_size


def test_landmarks_that_are_no_face_have_no_small_form():
    assert small_face(np.zeros((50, 50, 3), np.uint8), np.zeros((68, 2))) is None


VIEWS = {
    "mer_clip": View(frames=16, image_size=32),
    "released": View(frames=16, image_size=32, resize=40, sampling="uniform"),
    "window": View(frames=8, image_size=32, sampling="window"),
    "fdp": View(frames=8, image_size=64, grey=True, sampling="stride", align="frame"),
    "detector": View(frames=2, image_size=32, sampling="onset_apex"),
    "flow": View(frames=2, image_size=32, sampling="onset_apex", flow=True),
}


@pytest.mark.parametrize("name", VIEWS)
def test_windows_are_what_each_system_sees(shown, name):
    script, frames, times = shown
    cutter = Cutter(VIEWS[name], seconds=0.5, stride=0.25)
    found = []
    for i, (frame, at) in enumerate(zip(frames[:70], times.tolist(), strict=False)):
        face = Face(0, frame.points().astype(np.float64), 1.0)
        found += cutter.add(Picture(i, at, frame.picture), face)[1]
    assert [w.frames.shape for w in found] == [VIEWS[name].shape] * len(found)
    starts = [w.start for w in found]
    np.testing.assert_allclose(starts, np.arange(len(found)) * 0.25, atol=1 / 30 + 1e-6)
    assert len(found) == 8 and all(0.45 < w.end - w.start <= 0.5 for w in found)
    inside = found[0].landmarks
    assert inside.shape == (68, 2) and (inside[36:48] > 0).all()
    if name == "detector":  # the first and the strongest
        assert all(w.start < w.apex <= w.end for w in found)


def test_windows_do_not_span_what_was_lost(shown):
    script, frames, times = shown
    cutter = Cutter(made.VIEW, seconds=0.5, stride=0.1)
    found = []
    for i in [*range(20), *range(50, 80)]:
        face = Face(0, frames[i].points().astype(np.float64), 1.0)
        found += cutter.add(Picture(i, float(times[i]), frames[i].picture), face)[1]
    assert all(w.end < 0.7 or w.start > 1.6 for w in found) and len(found) > 4


@pytest.mark.parametrize("fps", [30.0, pytest.param(120.0, marks=pytest.mark.whole)])
def test_what_shows_is_found_where_it_is(oracle, tmp_path, fps):
    script = made.script(8, seconds=8.0, expressions=2)
    path = made.film(tmp_path / "a.mkv", script, fps=fps)
    found = look(Video(path), oracle, DlibLandmarks().find_all, Settings())
    assert len(found.events) == 2 and not found.stopped
    for event, true in zip(found.events, script.expressions, strict=True):
        assert events.overlap(event.span, true.span) > 0.5
        assert abs(event.apex - true.apex) < 0.1
        assert oracle.classes[int(event.classes.argmax())] == "surprise"
    assert len(found.rows) == round(8 * fps) and len(found.windows[0]) >= 74


def test_a_still_face_shows_nothing(oracle, shown, points, tmp_path):
    rng = np.random.default_rng(0)
    still = [
        np.clip(shown[1][0].picture + rng.normal(0, 2, (240, 320, 3)), 0, 255)
        for _ in range(60)
    ]
    path = made.plain(tmp_path / "s.mp4", [s.astype(np.uint8) for s in still], fps=30)
    found = look(Video(path), oracle, made.finder(points), Settings())
    assert found.events == [] and found.best.score == 0
    assert max(w.motion for w in found.windows[0]) < events.GATE


def test_without_a_face_there_is_no_window(oracle, tmp_path):
    path = made.plain(tmp_path / "n.mp4", [np.zeros((64, 64, 3), np.uint8)] * 10)
    found = look(Video(path), oracle, lambda image: [], Settings())
    assert [row.face for row in found.rows] == [-1] * 10
    assert found.events == [] and found.best is None


def test_which_faces_are_looked_at(oracle, film, points):
    two = [(0.9, points), (0.8, points * 0.5)]
    for face, numbers in (("largest", {0}), ("all", {0, 1}), (1, {1}), (7, set())):
        settings = Settings(face=face)
        found = look(Video(film, end=1.0), oracle, lambda image: two, settings)
        assert set(found.windows) == numbers


def test_an_interrupt_keeps_what_was_found(oracle, film, points):
    def tick(at):
        if at > 3.0:
            raise KeyboardInterrupt

    found = look(Video(film), oracle, made.finder(points), Settings(), tick=tick)
    assert found.stopped.startswith("interrupted at 3.0")
    assert 90 <= len(found.rows) <= 93 and len(found.windows[0]) > 20


@pytest.mark.parametrize("calibrated", [True, False])
def test_batches_of_any_size_decide_the_same(film, points, tmp_path, calibrated):
    """And so does the same video twice, to the last digit."""
    model = made.model(tmp_path, calibrated=calibrated)
    runs = [
        look(
            Video(film, start=2.0, end=5.0),
            Answerer(model, batch=batch),
            made.finder(points),
            Settings(threshold=0.01),
        )
        for batch in (1, 5, 16, 16)
    ]
    told = [
        [(w.start, w.score, *w.classes, *w.aus) for w in run.windows[0]] for run in runs
    ]
    for other in told[:3]:
        np.testing.assert_allclose(other, told[3], atol=2e-4)
    assert told[2] == told[3]
    spans = [[(e.onset, e.apex, e.offset) for e in run.events] for run in runs]
    assert spans[0] == spans[1] == spans[2] == spans[3]
    assert any(row[1] > 0 for row in told[0])


def scored(start, score, *, face=0, length=0.5):
    one = np.array([1 - score, score])
    return Scored(face, start, start + length, 1.0, score, one, np.zeros(0))


def test_windows_that_overlap_are_one_event():
    windows = [scored(t / 10, s) for t, s in enumerate([0.1, 0.8, 0.9, 0.2, 0.75])]
    windows += [scored(2.0, 0.9)]
    groups = events.merged(windows, threshold=0.7)
    assert [[round(w.start, 1) for w in g] for g in groups] == [[0.1, 0.2, 0.4], [2.0]]
    long = [scored(t / 10, 0.9 - 0.1 * (t == 9)) for t in range(20)]
    first, second = events.merged(long, threshold=0.7)
    assert second[0].start == pytest.approx(0.9)


def test_scores_ask_for_motion_first():
    sure = np.array([0.1, 0.9])
    assert events.score_of(0.1, sure, np.zeros(0), 0) == 0
    assert events.score_of(0.5, sure, np.zeros(0), 0) == pytest.approx(0.9)
    # Without a class for nothing, motion alone speaks, or the likeliest AU with it.
    weak, strong = (events.score_of(m, sure, np.zeros(0), None) for m in (0.25, 2.0))
    assert 0.2 < weak < 0.6 < strong < 1
    au = events.score_of(2.0, sure, np.array([0.2, 0.4]), None)
    assert au == pytest.approx(0.4 * strong)


@pytest.mark.whole
def test_what_is_held_does_not_grow_with_the_video(oracle, film, points):
    """Pictures, small faces and windows of a few seconds, however long it runs."""
    from merclip_jax.video import look as module

    looking = module._Looking(Video(film), oracle, made.finder(points), Settings())
    held = []
    for lap in range(5):  # the same six seconds again and again
        for picture in Video(film):
            later = dataclasses.replace(picture, time=picture.time + 6 * lap)
            looking._picture(later, [Face(0, points.astype(np.float64), 1.0)])
        own = looking.faces[0]
        held.append(
            (len(own.traces), len(own.cutter._held), len(own.cut), len(looking.waiting))
        )
    assert max(h[0] for h in held[1:]) < 150 and max(h[1] for h in held) < 20
    assert max(h[2] for h in held) < 25 and max(h[3] for h in held) < 16
