"""One picture is read as what it is; what is odd in it, or in a clip's, is told."""

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_builders.readers.release import Clip, Row
from data_builders.records.headers import PictureError
from data_builders.records.listening import heard, listening
from data_builders.records.pictures import Seen, read_picture
from tests.fixtures.pictures import picture

PIXELS = cv2.resize(picture(1, 0.5, (0, 1)), (160, 120), interpolation=cv2.INTER_CUBIC)


def encoded(suffix, *flags, pixels=PIXELS):
    return cv2.imencode(f".{suffix}", pixels, flags)[1].tobytes()


def pillow(mode, **options):
    file = io.BytesIO()
    image = Image.fromarray(PIXELS[..., ::-1]).convert(mode)
    image.save(file, **options)
    return file.getvalue()


def png(width, height, pixels, *further):
    """A PNG file of RGB with right checksums."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        *further,
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c))
        for kind, c in parts
    )


JPG, PNG, BMP = encoded("jpg"), encoded("png"), encoded("bmp")
WAVES = encoded("jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def resized(data, mark, form, *size):
    """The file with another size in its header, behind a mark."""
    at = data.index(mark[0]) + mark[1]
    return data[:at] + struct.pack(form, *size) + data[at + struct.calcsize(form) :]


SOF, DIB = (b"\xff\xc0", 5), (b"BM", 18)


@pytest.mark.parametrize(
    "data",
    [
        *(JPG, PNG, BMP, JPG + bytes(99)),
        WAVES,
        encoded("jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        pillow("L", format="JPEG"),
        pillow("L", format="PNG"),
        pillow("P", format="PNG", bits=4),
        pillow("P", format="BMP"),
    ],
)
def test_sound_pictures(data):
    with listening():
        image, told = read_picture(data)
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(image, plain)
    assert image.shape == (120, 160, 3) and told == []


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "expected a jpg, png or bmp"),
        (pillow("RGB", format="TIFF"), "expected a jpg, png or bmp"),
        (pillow("F", format="TIFF"), "expected a jpg, png or bmp"),
        (pillow("RGB", format="GIF"), "expected a jpg, png or bmp"),
        (JPG[:-200], "whole jpg, its end is cut"),
        (PNG[:-200], "whole picture, its end is cut"),
        (BMP[:-1], "whole bmp, its end is cut"),
        (JPG[: len(JPG) * 9 // 10] + b"\xff\xd9", "its data end early"),
        (PNG[:900] + bytes([PNG[900] ^ 1]) + PNG[901:], "checksum of its part b'IDAT'"),
        (resized(JPG, SOF, ">HH", 65535, 65535), "64 million pixels.*65535 x 65535"),
        (resized(PNG, (b"IHDR", 4), ">II", 32000, 32000), "part b'IHDR'"),
        (resized(BMP, DIB, "<ii", 60000, 60000), "whole bmp"),
        (resized(BMP, DIB, "<ii", -160, 120), "above 0, found -160 x 120"),
        (encoded("png", pixels=PIXELS.astype(np.uint16) * 257), "8 bits.*found 16"),
        (pillow("1", format="PNG"), "8 bits.*found 1;"),
        (b"\xff\xd8\xff\xd9", "no picture in it"),
        (WAVES[: WAVES.rindex(b"\xff\xc4")] + b"\xff\xd9", "last scans are missing"),
        (JPG[:-2] + JPG[JPG.index(b"\xff\xda") : -2] * 100 + b"\xff\xd9", "100 scans"),
        (png(20, 20, bytes(2**30)), "up to 1240 bytes of pixels"),
        (png(20, 20, bytes(1220), (b"IHDR", bytes(13))), "two parts that state it"),
    ],
)
def test_files_that_are_refused(data, message):
    with listening(), pytest.raises(PictureError, match=message):
        read_picture(data)


@pytest.mark.parametrize(
    "data, kind, text",
    [
        (JPG + JPG, "several", "another picture behind its end"),
        (PNG + b"abc", "several", "3 bytes behind its end"),
        (BMP + JPG, "several", "another picture behind its end"),
        (
            pillow(
                "RGB",
                format="PNG",
                save_all=True,
                append_images=[Image.fromarray(255 - PIXELS)],
            ),
            "several",
            "an animation of 2",
        ),
        (pillow("RGBA", format="PNG"), "converted", "transparency"),
        (pillow("P", format="PNG", transparency=3), "converted", "transparency"),
        (pillow("CMYK", format="JPEG"), "converted", "4 channels"),
    ],
)
def test_pictures_of_which_something_is_told(data, kind, text):
    with listening():
        image, ((found, said),) = read_picture(data)
    assert image.shape == (120, 160, 3) and found == kind and text in said


def test_a_bomb_costs_no_memory(tmp_path):
    """A PNG of 100 kB that would be 3 GB; in a process of its own, to measure it."""
    script = """
import resource, struct, zlib
from data_builders.records.pictures import read_picture
head = struct.pack(">IIBBBBB", 32000, 32000, 8, 0, 0, 0, 0)
parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(32001 * 3200)) * 9)]
data = b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(
    struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c))
    for k, c in [*parts, (b"IEND", b"")]
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_picture(data)
except ValueError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "its header says 32000 x 32000\nTrue" in done.stdout


# What the decoder says.


def doubtful():
    """A JPEG with a flipped bit of which the decoder says more than "premature end"."""
    rng = np.random.default_rng(0)
    while True:
        data = bytearray(JPG)
        data[int(rng.integers(700, len(JPG) - 2))] ^= 1 << int(rng.integers(8))
        try:
            if told := read_picture(bytes(data))[1]:
                return bytes(data), told
        except PictureError:
            pass


def test_a_decoders_warning_is_of_its_picture_alone(capfd):
    """Many threads decode sound pictures meanwhile."""
    with listening():
        bad, expected = doubtful()
        assert [kind for kind, _ in expected] == ["doubtful"]
        assert "the decoder says: Corrupt JPEG data" in expected[0][1]
        files = [bad if i % 7 == 0 else JPG for i in range(210)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda data: read_picture(data)[1], files))
    assert found == [expected if i % 7 == 0 else [] for i in range(210)]
    assert "Corrupt" not in capfd.readouterr().err  # it was taken


def test_what_others_print_is_passed_on(capfd):
    with listening(), listening():
        os.write(2, b"of another library\n")
        assert heard(lambda: 1) == (1, "")
        assert heard(lambda: os.write(2, b"of it\n")) == (6, "of it")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "of another library\nafter\n"


def test_python_prints_where_it_did():
    """Progress and errors of Python are seen at once, not at the end."""
    script = """
import os, sys
from data_builders.records.listening import listening
try:
    with listening():
        print("seen", file=sys.stderr)
        os.write(2, b"later\\n")
        print("seen too", file=sys.stderr)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("behind", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stderr == "seen\nseen too\nlater\nbehind\n"


@pytest.mark.parametrize("stderr", ["2>&-", "2> /dev/full"])
def test_without_a_standard_error(stderr):
    script = """
from data_builders.records.listening import heard, listening
with listening():
    print(heard(lambda: 1)[0])
"""
    command = f'"{sys.executable}" -c "$SCRIPT" {stderr}'
    done = subprocess.run(
        ["sh", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "SCRIPT": script},
    )
    assert done.stdout == "1\n"


# A clip's pictures together.


def seen(*images):
    """Kind and text of what is odd in a clip."""
    row = Row(
        where="t.csv, row 2",
        subject="s",
        clip="s/a",
        onset=1,
        apex=None,
        offset=9,
        fps=200.0,
        emotion="anger",
        au_cell="4",
    )
    files = {i: Path(f"img{i}.jpg") for i in range(1, len(images) + 1)}
    made = Seen(Clip(row, files, tuple(files)))
    for number, image in zip(files, images, strict=True):
        made.add(number, image, [])
    return [(finding.kind, finding.text) for finding in made.findings()]


def test_clips_without_motion_or_content():
    other = PIXELS.copy()
    other[60, 80] ^= 1
    grey = np.full_like(PIXELS, 90)
    spot = grey.copy()
    spot[5, 5] = 120  # between the pixels of the first look
    assert seen(PIXELS, other) == seen(PIXELS) == seen(spot, PIXELS) == []
    assert seen(PIXELS, PIXELS.copy()) == [("still", "all 2 are equal")]
    assert seen(PIXELS, other, PIXELS) == []
    told = ("blank", "1 of 2, the first img2.jpg: of one colour")
    assert seen(PIXELS, grey) == [told]
    blank, still = seen(grey * 0, grey * 0, grey * 0)
    assert blank[1].startswith("3 of 3, the first img1.jpg") and still[0] == "still"
    size, _ = seen(PIXELS, grey[:50])
    assert size == ("size", "160x50, 160x120")
