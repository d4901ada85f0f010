from fractions import Fraction

import numpy as np
import pytest

from data_builders.synthetic.video import write_video
from merclip_jax.video.decode import Video, VideoError
from tests.video import made


def ramp(count, size=(64, 96)):
    """Pictures that tell their numbers by how bright they are."""
    return [np.full((*size, 3), 20 + 8 * i, np.uint8) for i in range(count)]


def levels(video):
    return [round((float(p.image.mean()) - 20) / 8) for p in video]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "ffv1", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx", "yuv420p"),
    ],
)
def test_every_container_gives_its_pictures_in_order(tmp_path, name, codec, pix_fmt):
    path = made.plain(tmp_path / name, ramp(12), codec=codec, pix_fmt=pix_fmt)
    video = Video(path)
    found = list(video)
    assert [p.index for p in found] == list(range(12))
    np.testing.assert_allclose([p.time for p in found], np.arange(12) / 10, atol=2e-3)
    assert levels(Video(path)) == list(range(12)) and not video.problem
    assert found[0].image.shape == (64, 96, 3) and found[0].image.dtype == np.uint8


def test_times_are_the_files_own(tmp_path):
    """A phone's pictures come when they can."""
    times = np.array([0, 0.03, 0.1, 0.11, 0.4, 0.5])
    write_video(tmp_path / "v.mp4", iter(ramp(6)), times)
    found = [p.time for p in Video(tmp_path / "v.mp4")]
    np.testing.assert_allclose(found, times, atol=1e-3)


def test_grey_pictures_have_three_equal_channels(tmp_path):
    grey = [image[..., 0] for image in ramp(5)]
    path = made.plain(tmp_path / "g.mkv", grey, codec="ffv1", pix_fmt="gray")
    picture = next(iter(Video(path)))
    assert picture.image.shape == (64, 96, 3)
    assert (picture.image == picture.image[..., :1]).all()


def test_large_pictures_are_reduced_and_parts_are_cut_out(tmp_path):
    path = made.plain(tmp_path / "a.mp4", ramp(20))
    video = Video(path, start=0.5, end=1.2, max_side=48)
    found = list(video)
    assert found[0].image.shape == (32, 48, 3) and not video.problem
    assert levels(found_again := Video(path, start=0.5, end=1.2)) == list(range(5, 13))
    assert not found_again.problem


def test_a_portrait_is_turned_upright(tmp_path):
    """A phone writes lying pictures, and how they must be turned."""
    import av

    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :20] = 255  # the left edge of what is stored
    path = made.plain(tmp_path / "a.mp4", [image] * 5)
    turned = tmp_path / "turned.mp4"
    with av.open(str(path)) as source, av.open(str(turned), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        copy.time_base = stream.time_base
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    data = bytearray(turned.read_bytes())
    # The matrix of the track header: turned by 90 degrees.
    at = data.index(b"tkhd") + 4 + 4 + 4 * 4 + 4 + 8 + 8
    unit, zero = (1 << 16).to_bytes(4, "big"), bytes(4)
    minus = (-(1 << 16) & 0xFFFFFFFF).to_bytes(4, "big")
    matrix = zero + unit + zero + minus + zero + zero + zero + zero + b"\x40\0\0\0"
    assert data[at : at + 4] == unit  # what is replaced is the matrix
    data[at : at + 36] = matrix
    turned.write_bytes(data)
    picture = next(iter(Video(turned)))
    assert picture.image.shape[:2] == (96, 64)
    bright = picture.image.mean(-1) > 128
    assert bright[:18].all() and not bright[30:].any()  # now the upper edge


def test_what_is_no_video_is_told(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, said in (
        (text, "text.mp4: expected a video"),
        (empty, "empty.mp4: expected a video"),
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "no such file"),
    ):
        with pytest.raises(VideoError, match=said):
            Video(path)


def test_sound_alone_is_no_video(tmp_path):
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="holds no video stream"):
        Video(path)


def test_a_part_without_pictures_is_told(tmp_path):
    path = made.plain(tmp_path / "a.mp4", ramp(10))
    with pytest.raises(VideoError, match="no picture in the part"):
        list(Video(path, start=50.0))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_file_that_was_cut_off_gives_what_it_has(tmp_path, share):
    """... or says that it is not whole, as one that is still being written is not."""
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(30)]
    whole = made.plain(tmp_path / "a.mkv", images, codec="mjpeg", pix_fmt="yuvj420p")
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: int(share * len(data))])
    video = Video(cut)
    found = list(video)
    assert 0 < len(found) < 30
    assert "cut off" in video.problem or "damaged" in video.problem
    # The index of an mp4 comes last: without it nothing is known.
    half = tmp_path / "half.mp4"
    half.write_bytes(made.plain(tmp_path / "b.mp4", images).read_bytes()[:5000])
    with pytest.raises(VideoError, match="still being written"):
        Video(half)


def test_damage_in_the_middle_ends_or_skips_but_never_hangs(tmp_path):
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(30)]
    path = made.plain(tmp_path / "a.mp4", images)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 2000] = noise.bytes(2000)
    path.write_bytes(data)
    video = Video(path)
    times = [p.time for p in video]
    assert times == sorted(times) and len(times) <= 30
