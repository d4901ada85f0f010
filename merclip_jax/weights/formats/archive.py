"""Entries of a zip archive, mapped from the file and compared with their checksums."""

import mmap
import struct
import zipfile
import zlib
from pathlib import Path

from merclip_jax.weights.formats.bounded import check_size
from merclip_jax.weights.formats.pickles import Damaged

DIRECTORY = 2**25  # bytes of the list of entries: some 400,000 of them
INFLATED = 2**28  # bytes that a compressed entry may become


class Archive:
    """A zip archive whose entries are mapped, not copied.

    Raises UserError, Damaged or zipfile's own errors when it is none.
    """

    def __init__(self, path: Path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # zipfile makes an object of every entry that the list names, as many as it has.
        check_size(path, self._directory(), DIRECTORY, "a zip's list of entries")
        with zipfile.ZipFile(path) as archive:
            self.entries = {entry.filename: entry for entry in archive.infolist()}
        self._mapped: dict[str, memoryview] = {}
        # torch can be told to write none: then all of them are zero.
        self.has_checksums = any(entry.CRC for entry in self.entries.values())

    def read(self, name: str, *, limit: int = INFLATED) -> bytes:
        """A whole entry, inflated if it must be.

        Args:
            name: of the entry.
            limit: bytes that it may become.

        Returns:
            Its content, its checksum compared.

        Raises:
            UserError: it would become larger than `limit`.
            Damaged: its checksum is another.
        """
        entry = self.entries[name]
        check_size(self.path, entry.file_size, limit, f"an entry {name}")
        if entry.compress_type == zipfile.ZIP_STORED:
            return bytes(self.mapped(name))
        # No more than the list says is inflated, whatever follows in the file.
        with zipfile.ZipFile(self.path) as archive, archive.open(entry) as file:
            return file.read()

    def mapped(self, name: str) -> memoryview:
        """An entry that lies uncompressed, its checksum compared; Damaged otherwise."""
        if name not in self._mapped:  # compared once, however many tensors share it
            self._mapped[name] = self._found(name)
        return self._mapped[name]

    def _found(self, name: str) -> memoryview:
        if name not in self.entries:
            raise Damaged(f"the archive lacks its entry {name}")
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise Damaged(f"its entry {name} is compressed or encrypted")
        # The local header, not the list, says where the bytes lie: its extra field may
        # be longer, because torch aligns tensors with it.
        head = entry.header_offset
        if self.bytes[head : head + 4] != b"PK\x03\x04":
            raise Damaged(f"its entry {name} has no header")
        named, extra = struct.unpack("<HH", self.bytes[head + 26 : head + 30])
        start = head + 30 + named + extra
        found = memoryview(self.bytes)[start : start + entry.file_size]
        if len(found) != entry.file_size:
            raise Damaged(f"its entry {name} ends after {len(found)} bytes")
        if self.has_checksums and zlib.crc32(found) != entry.CRC:
            raise Damaged(
                f"its entry {name} is damaged: its CRC-32 is {zlib.crc32(found):08x}, "
                f"expected {entry.CRC:08x}"
            )
        return found

    def _directory(self) -> int:
        """Bytes of the list of entries, as the end of the file says."""
        tail = self.bytes[-66_000:]
        end, wide = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
        size = struct.unpack_from("<I", tail, end + 12)[0] if end >= 0 else 0
        if wide >= 0 and len(tail) >= wide + 48:
            size = max(size % 0xFFFFFFFF, struct.unpack_from("<Q", tail, wide + 40)[0])
        return size
