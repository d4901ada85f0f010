"""A damaged picture is stored as it was meant, told, or refused by its name."""

import io
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from data_builders.readers.release import Clip, Row
from data_builders.records.crop import ClipError
from data_builders.records.encode import inspect, make
from data_builders.records.listening import listening
from tests.fixtures.pictures import picture

PIXELS = cv2.resize(picture(1, 0.5, (0, 1)), (96, 80), interpolation=cv2.INTER_CUBIC)
MARKS = {"jpg": b"\xff\xd9", "png": b"", "bmp": b""}
ROW = Row(
    where="t.csv, row 2",
    subject="s1",
    clip="s1/a",
    onset=1,
    apex=None,
    offset=1,
    fps=200.0,
    emotion="anger",
    au_cell="4",
)


def encoded(suffix, *flags):
    return cv2.imencode(f".{suffix}", PIXELS, flags)[1].tobytes()


def pillow(mode, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., ::-1]).convert(mode).save(file, **options)
    return file.getvalue()


FILES = [
    ("jpg", encoded("jpg")),
    ("jpg", encoded("jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    ("jpg", encoded("jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    ("jpg", pillow("L", format="JPEG")),
    ("png", encoded("png")),
    ("png", pillow("RGBA", format="PNG")),
    ("png", pillow("P", format="PNG")),
    ("bmp", encoded("bmp")),
    ("bmp", pillow("P", format="BMP")),
]
places = st.floats(0, 1, exclude_max=True)
files = st.sampled_from(FILES)


@pytest.fixture(autouse=True)
def memory():
    """No picture may add two gigabytes to what the process has ever had."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * 2**20


@pytest.fixture
def stored(tmp_path):
    """Builds a clip of one picture: (pixels that are stored, what is told)."""

    def build(suffix, data):
        path = tmp_path / f"img1.{suffix}"
        path.write_bytes(data)
        clip = Clip(ROW, {1: path}, (1,))
        with listening():
            odd = inspect("d", clip)[1]
            try:
                record, findings = make("d", clip)
            except ClipError as error:
                assert odd == [error.finding]  # the doctor says the same
                raise
        assert odd == findings
        return decoded(record["frames"][0]), findings

    return build


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def cut(suffix, data, place, *, closed):
    """The file up to a place, perhaps with a mark that says it ends there.

    place: a share of the file, or how many bytes are lost at its end.
    """
    end = int(place * len(data)) if isinstance(place, float) else len(data) - place
    return data[:end] + (MARKS[suffix] if closed else b"")


def test_cut_files(tally, stored):
    """What is missing may be of no matter, such as the last bits of a JPEG."""

    @tally.given(60)
    @given(files, st.one_of(places, st.integers(0, 9)), st.booleans())
    @example(FILES[0], 0.9, True)
    @example(FILES[1], 0.5, True)
    def run(file, place, closed):
        suffix, data = file
        with tally.case(f"img1.{suffix}", ClipError):
            found, told = stored(suffix, cut(suffix, data, place, closed=closed))
            assert told or np.array_equal(found, decoded(data))

    run()


def test_flipped_bits(tally, stored):
    """PNG files have checksums; of the others only what their decoder sees is told."""

    @tally.given(50)
    @given(
        files, st.lists(st.tuples(places, st.integers(0, 7)), min_size=1, max_size=9)
    )
    def run(file, flips):
        suffix, data = file
        damaged = bytearray(data)
        for place, bit in flips:
            damaged[int(place * len(data))] ^= 1 << bit
        with tally.case(f"img1.{suffix}", ClipError):
            found, told = stored(suffix, bytes(damaged))
            same = np.array_equal(found, decoded(data))
            assert told or same or suffix != "png"
            assert found.size <= 3 * 64 * 10**6

    run()


def test_what_lies_behind(tally, stored):
    @tally.given(15)
    @given(files, st.one_of(files.map(lambda file: file[1]), st.binary(max_size=40)))
    def run(file, rest):
        suffix, data = file
        with tally.case(f"img1.{suffix}", ClipError):
            found, told = stored(suffix, data + rest)
            assert np.array_equal(found, decoded(data))
            assert not rest.strip(b"\0") or "several" in {one.kind for one in told}

    run()


numbers = st.one_of(
    st.integers(0, 99),
    st.integers(0, 9),
    st.sampled_from((8000, 32760, 2**31, 2**32 - 1)),
)


def test_hostile_headers(tally, stored):
    """Some bytes that ask for gigabytes; whole PNG files else, with right checksums."""

    @tally.given(35)
    @given(
        numbers,
        numbers,
        st.sampled_from((1, 2, 4, 8, 16, 255)),
        st.sampled_from((0, 2, 3, 4, 6, 7)),
        st.one_of(st.none(), st.integers(0, 9000)),
        st.lists(
            st.sampled_from((b"acTL", b"fcTL", b"tRNS", b"PLTE", b"IDAT", b"gAMA"))
        ),
    )
    @example(32000, 32000, 8, 0, 9000, [])
    @example(20, 20, 16, 0, None, [])
    @example(20, 30, 8, 6, None, [b"acTL"])
    @example(20, 30, 8, 0, None, [])
    def run(width, height, depth, colour, size, further):
        head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        parts = [(b"IHDR", head), *((kind, bytes(24)) for kind in further)]
        if size is None:  # as many bytes as the header asks for
            channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
            size = min((1 + (width * channels * depth + 7) // 8) * height, 10**6)
        parts += [(b"IDAT", zlib.compress(bytes(size))), (b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c))
            for k, c in parts
        )
        with tally.case("img1.png", ClipError):
            found, _ = stored("png", data)
            assert found.shape == (height, width, 3) and depth <= 8

    run()
