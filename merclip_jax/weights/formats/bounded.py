"""A stretch of a mapped file as a stream that never gives more than it should."""

import mmap

from merclip_jax.errors import UserError

_LINE = 2**16  # of the oldest pickles' text


def check_size(path, size: int, limit: int, what: str) -> None:
    """Refuses to read what no file of weights has.

    Args:
        path: of the file.
        size: bytes that are about to be read.
        limit: how many there may be.
        what: is read, for the message.

    Raises:
        UserError: `size` is above the limit.
    """
    if size > limit:
        raise UserError(
            f"{path}: {what} of {size} bytes, expected at most {limit}; nothing was "
            "read of it"
        )


class Bounded:
    """What `pickletools` reads from: bytes from a position on, up to an allowance.

    A pickle may announce a string of terabytes; a plain file would allocate it.
    """

    def __init__(self, data: mmap.mmap | bytes | memoryview, at: int = 0):
        self.data, self.at, self.end = data, at, len(data)

    def allow(self, count: int) -> None:
        """From here on no more than `count` bytes are given."""
        self.end = min(len(self.data), self.at + count)

    def read(self, count: int) -> bytes:
        """The next bytes, fewer at the end."""
        stop = min(self.at + max(count, 0), self.end)
        found = bytes(self.data[self.at : stop])
        self.at = stop
        return found

    def readline(self) -> bytes:
        """The next line, cut where no number or name is that long."""
        ahead = bytes(self.data[self.at : min(self.at + _LINE, self.end)])
        return self.read(ahead.find(b"\n") + 1 or len(ahead))

    def tell(self) -> int:
        """The position in the data."""
        return self.at
