"""What a picture's file says of itself: size, depth, whether it is whole.

Read before it is decoded, for a header of some bytes can ask for gigabytes, and
decoders fill up what is missing, or scale other depths, without a word.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MOST_PIXELS = 64 * 10**6  # the largest of a dataset have one million
_OVERHEAD = 1 << 16  # bytes by which packing may make a PNG's pixels longer, and more
_MOST_SCANS = 100  # of a progressive JPEG; each is a pass over all pixels
_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"
# In the data of a JPEG, 0xFF is followed by 0, by a restart mark, or by a real one;
# more of them may stand before a mark. Without a "+", `re` is 15 times as fast.
_MARK = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BARE = (0x01, *range(0xD0, 0xDA))  # marks without a length
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_NO_SIZES = (0xC4, 0xC8, 0xCC)  # of 0xC0..0xCF, those that state no size


class PictureError(ValueError):
    """A file that is no whole picture, or none that can be stored as it is."""


class Header(NamedTuple):
    """A picture's size, and what is odd in its file: (kind of finding, text)."""

    width: int
    height: int
    depth: int  # bits a channel
    told: list[tuple[str, str]]


def read_header(data: bytes) -> Header:
    """Reads what a file says of its picture, and sees that it is whole.

    Args:
        data: The file.

    Raises:
        PictureError: If it is no jpg, png or bmp, ends early, has a part whose checksum
            is wrong, is too large, or has another depth than 8 bits a channel.
    """
    for start, read in ((_PNG, _png), (_JPEG, _jpeg), (_BMP, _bmp)):
        if data.startswith(start):
            try:
                header = read(data)
            except (struct.error, IndexError) as error:
                raise PictureError(
                    "expected a whole picture, its end is cut"
                ) from error
            break
    else:
        raise PictureError("expected a jpg, png or bmp, found none by its first bytes")
    width, height = header.width, header.height
    if not (width > 0 and height > 0):
        raise PictureError(f"expected a size above 0, found {width} x {height}")
    if width * height > MOST_PIXELS:
        raise PictureError(
            f"expected at most {MOST_PIXELS // 10**6} million pixels, its header says "
            f"{width} x {height}"
        )
    if header.depth != 8:
        raise PictureError(
            f"expected 8 bits a channel, found {header.depth}; convert it in a way "
            "that you know of, for every program scales it otherwise"
        )
    return header


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Type, content and end of each chunk of a PNG file, up to its last."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != stored:
            raise PictureError(f"damaged: the checksum of its part {kind!r} is wrong")
        yield kind, data[at + 8 : end - 4], end
        at = end


def _png(data: bytes) -> Header:
    parts = list(_chunks(data))
    kind, content, _ = parts[0]
    if kind != b"IHDR":
        raise PictureError(f"expected a PNG file that begins with IHDR, found {kind!r}")
    width, height, depth, colour = struct.unpack_from(">IIBB", content)
    depth = 8 if colour == 3 else depth  # a palette's colours have 8 bits
    dropped = ("converted", "its transparency is dropped")
    told = [dropped] if colour in (4, 6) else []
    bits = {2: 3, 4: 2, 6: 4}.get(colour, 1) * content[8] * width
    packed, rows = 0, (bits // 8 + 2) * height
    for kind, content, _ in parts[1:]:
        if kind == b"IHDR":
            raise PictureError("expected one size, found two parts that state it")
        packed += len(content) * (kind == b"IDAT")
        if kind == b"tRNS":
            told.append(dropped)
        elif kind == b"acTL" and (frames := struct.unpack_from(">I", content)[0]) > 1:
            told.append(("several", f"an animation of {frames}; the first is taken"))
    if packed > rows + _OVERHEAD:  # 1 MB may unpack to 1 GB, all of it for nothing
        raise PictureError(f"expected up to {rows} bytes of pixels, found {packed}")
    return Header(width, height, depth, told + _behind(data, parts[-1][2]))


def _jpeg(data: bytes) -> Header:
    size, told, scans, at = None, [], 0, 2
    left: set[tuple[int, int]] = set()  # component, frequency: what is not sent yet
    waves = range(0)
    while True:
        found = _MARK.search(data, at)
        if found is None:
            raise PictureError("expected a whole jpg, its end is cut")
        mark, at = found[0][-1], found.end()
        if mark == 0xD9:
            break
        if mark in _BARE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if 0xC0 <= mark <= 0xCF and mark not in _NO_SIZES and size is None:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
            size = width, height, depth
            components = data[at + 8 : at + 8 + 3 * channels : 3]
            # A progressive one sends frequencies apart, the lower bits of them later.
            waves = range(64 if mark in _PROGRESSIVE else 1)
            left = {(component, i) for component in components for i in waves}
            if channels not in (1, 3):
                told.append(("converted", f"it has {channels} channels"))
        if mark == 0xDA:
            scans += 1
            left -= _sent(data, at, len(waves))
        if scans > _MOST_SCANS:
            raise PictureError(f"expected at most {_MOST_SCANS} scans, found more")
        at += length
    if size is None or not scans:
        raise PictureError("expected a whole jpg, found no picture in it")
    if left:
        raise PictureError("expected a whole jpg, its last scans are missing")
    return Header(*size, told + _behind(data, at))


def _sent(data: bytes, at: int, waves: int) -> set[tuple[int, int]]:
    """Components and frequencies of which a scan sends the last bits."""
    count = data[at + 2]
    components = data[at + 3 : at + 3 + 2 * count : 2]
    if waves == 1:
        return {(component, 0) for component in components}
    first, last, bits = (data[at + 3 + 2 * count + i] for i in range(3))
    return {
        (component, i)
        for component in components
        for i in range(first, min(last + 1, waves))
        if not bits & 15
    }


def _bmp(data: bytes) -> Header:
    length, _, start, head = struct.unpack_from("<IIII", data, 2)
    if head == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # below 0: rows from top to bottom
    if bits not in (1, 4, 8, 24, 32) or packing not in (0, 1, 2, 3):
        raise PictureError(
            f"expected a bmp of 8 bits a channel, found {bits} bits, packing {packing}"
        )
    rows = (width * bits + 31) // 32 * 4 * height if packing in (0, 3) else 0
    if len(data) < max(length, start + rows):
        raise PictureError("expected a whole bmp, its end is cut")
    told = [("converted", "its fourth channel is dropped")] if bits == 32 else []
    return Header(width, height, 8, told + _behind(data, max(length, start + rows)))


def _behind(data: bytes, end: int) -> list[tuple[str, str]]:
    """What lies behind a picture's end; programs may fill a file up with zeros."""
    rest = data[end:].strip(b"\0")
    if not rest:
        return []
    another = any(start in rest for start in (_JPEG, _PNG))
    what = "another picture" if another else f"{len(rest)} bytes"
    return [("several", f"{what} behind its end; the first one is taken")]
