"""Videos of every kind, from the file to the folder: an answer, or a clear word."""

import json

import cv2
import numpy as np
import pytest

import merclip_jax
from data_builders.synthetic.video import write_video
from merclip_jax import predict
from merclip_jax.video.decode import Picture, Video
from merclip_jax.video.follow import Face
from merclip_jax.video.look import _Looking
from merclip_jax.video.result import Settings
from tests.video import made
from tests.video.test_predict import folder as folder  # a final model's folder

pytestmark = [pytest.mark.whole, pytest.mark.xdist_group("video")]
FILES = ["events.csv", "frames.csv", "index.html", "metadata.json"]


@pytest.fixture(scope="module")
def faces():
    """Three seconds of a procedural face at 20 a second, with one expression."""
    drawn, _ = made.pictures(made.script(3, seconds=4.0), fps=20.0)
    return [frame.picture for frame in drawn]


def looked_at(path, folder, out, *flags):
    given = [str(path), f"--checkpoint={folder}", f"--out={out}", "--no_maps", *flags]
    status = predict.main(given)
    facts = None
    if (out / "metadata.json").exists():
        facts = json.loads((out / "metadata.json").read_text())
        assert sorted(p.name for p in out.iterdir()) == FILES
    return status, facts


def bigger(picture, factor):
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)


def test_grey_of_eight_bits(faces, folder, tmp_path):
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in faces]
    path = made.plain(tmp_path / "g.mkv", grey, fps=20, codec="ffv1", pix_fmt="gray")
    status, facts = looked_at(path, folder, tmp_path / "out")
    assert status == 0 and facts["pictures_with_a_face"] == len(faces)


def test_four_thousand_pixels(faces, folder, tmp_path):
    """Reduced while they are decoded, or one picture would take 25 MB."""
    large = [bigger(f, 12) for f in faces[:16]]
    assert large[0].shape == (2880, 3840, 3)
    path = made.plain(tmp_path / "4k.mp4", large, fps=20)
    status, facts = looked_at(path, folder, tmp_path / "out")
    assert status == 0 and facts["pictures_with_a_face"] == 16
    assert max(p.image.shape[1] for p in Video(path)) == 1280


def test_times_that_vary(faces, folder, tmp_path):
    """Windows go by time: as many as of the same seconds at an even rate."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.08, len(faces)))
    write_video(tmp_path / "v.mkv", iter(faces), times)
    status, facts = looked_at(tmp_path / "v.mkv", folder, tmp_path / "out")
    assert status == 0 and abs(facts["pictures_per_second"] - 20) < 3


def test_few_pictures_a_second(faces, folder, tmp_path):
    """Several windows hold the very same pictures then; and it is told."""
    path = made.plain(tmp_path / "slow.mp4", faces[::2], fps=8)
    flags = "--threshold=0.01", "--stride=0.03"
    status, facts = looked_at(path, folder, tmp_path / "out", *flags)
    assert status == 0 and any("record 60 or more" in n for n in facts["notes"])


def test_no_face(folder, tmp_path, capsys):
    path = made.plain(tmp_path / "n.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 20)
    status, facts = looked_at(path, folder, tmp_path / "out")
    assert status == 0 and facts["answer"] == "no face found" and not facts["events"]
    assert "no face found" in capsys.readouterr().out


def test_many_faces(faces, folder, tmp_path):
    two = [np.concatenate([f, f[:, ::-1]], 1) for f in faces[:30]]
    path = made.plain(tmp_path / "two.mp4", two, fps=20)
    for face, count in (("all", 2), ("largest", 1), ("1", 1)):
        status, facts = looked_at(path, folder, tmp_path / face, f"--face={face}")
        assert status == 0 and facts["faces"] == count, face


def test_one_picture_and_none(folder, tmp_path, capsys):
    path = made.plain(tmp_path / "one.mp4", [np.zeros((64, 64, 3), np.uint8)])
    assert looked_at(path, folder, tmp_path / "one")[0] == 0
    empty = tmp_path / "zero.avi"
    import av

    with av.open(str(empty), "w") as container:  # a stream, and nothing in it
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        container.start_encoding()
    status, facts = looked_at(empty, folder, tmp_path / "zero")
    assert status == 1 and facts is None
    assert "zero.avi: holds no picture" in capsys.readouterr().err


def test_what_is_still_being_written_is_kept_as_far_as_it_goes(faces, folder, tmp_path):
    whole = made.plain(
        tmp_path / "w.mkv", faces, fps=20, codec="mjpeg", pix_fmt="yuvj420p"
    )
    data = whole.read_bytes()
    part = tmp_path / "part.mkv"
    part.write_bytes(data[: len(data) // 2])
    status, facts = looked_at(part, folder, tmp_path / "out")
    assert status == 0 and not facts["complete"]
    assert 0 < facts["pictures"] < len(faces) and facts["stopped"]


def test_faces_that_were_lost_hold_no_pictures(folder, tmp_path):
    """Someone who comes and goes all day does not fill the memory."""
    path = made.plain(tmp_path / "x.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    model = made.model(tmp_path)
    looking = _Looking(Video(path), made.Oracle(model), lambda image: [], Settings())
    picture = made.pictures(made.script(3, seconds=4.0))[0][0]
    points = picture.points().astype(np.float64)
    for i in range(200):
        number = i // 10  # another face every third of a second
        own = Picture(i, i / 30, picture.picture)
        looking._picture(own, [Face(number, points, 1.0)])
    held = [len(face.cutter._held) for face in looking.faces.values()]
    assert len(held) == 20 and sum(map(bool, held)) <= 3
    assert sum(len(face.traces) for face in looking.faces.values()) < 80


def test_a_line_of_python_is_enough(faces, folder, tmp_path):
    path = made.plain(tmp_path / "a.mp4", faces[:30], fps=20)
    result = merclip_jax.predict_video(str(path), str(folder), out=tmp_path / "out")
    assert len(result.rows) == 30 and (tmp_path / "out" / "index.html").exists()
    with pytest.raises(AttributeError, match="has no attribute 'predict_vido'"):
        merclip_jax.predict_vido  # noqa: B018
