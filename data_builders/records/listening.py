"""What a decoder in C says of a picture: it prints it, and returns the picture.

libjpeg fills up what is damaged in a file, and tells it to the standard error of the
process alone. While `listening`, that goes into a file of our own. Pictures are
decoded in threads, so what is printed meanwhile is of one of several; each of these is
decoded again while no other is.
"""

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

_STDERR = 2


class _Ear:
    """The file that takes the standard error, and turns at decoding."""

    def __init__(self, file: int):
        self.file = file
        self.heard: set[str] = set()
        self._decoding = 0
        self._turn = threading.Condition()

    def length(self) -> int:
        return os.fstat(self.file).st_size

    def text(self, start: int) -> str:
        return os.pread(self.file, 1 << 20, start).decode(errors="replace")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with self._turn:
            self._decoding += 1
        try:
            yield
        finally:
            with self._turn:
                self._decoding -= 1
                self._turn.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._turn:  # held meanwhile: nobody else begins
            self._turn.wait_for(lambda: self._decoding == 0)
            yield


_ear: _Ear | None = None


def heard(decode: Callable[[], object]) -> tuple[object, str]:
    """Decodes a picture and listens.

    Args:
        decode: Does it; it may be called twice.

    Returns:
        What it returns, and what was printed meanwhile; "" outside of `listening`.
    """
    ear = _ear
    if ear is None:
        return decode(), ""
    with ear.together():
        before = ear.length()
        result = decode()
        quiet = ear.length() == before
    if quiet:
        return result, ""
    with ear.alone():
        before = ear.length()
        result = decode()
        said = ear.text(before)
    ear.heard.update(said.splitlines())
    return result, " ".join(said.split())


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Takes the standard error of C for `heard`; Python's goes where it went.

    What was printed by others is passed on at the end. Inside itself it does nothing.
    """
    global _ear
    if _ear is not None or not _is_open(_STDERR):
        yield
        return
    python, opened = sys.stderr, None
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as after:
        saved = os.dup(_STDERR)
        after.callback(os.close, saved)
        if _is_stderr(python):
            python.flush()
            opened = io.TextIOWrapper(
                os.fdopen(os.dup(saved), "wb"),
                encoding=python.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
            sys.stderr = opened
        os.dup2(file.fileno(), _STDERR)
        _ear = _Ear(file.fileno())
        try:
            yield
        finally:
            others = [
                line
                for line in _ear.text(0).splitlines(keepends=True)
                if line.rstrip("\n") not in _ear.heard
            ]
            _ear = None
            os.dup2(saved, _STDERR)
            sys.stderr = python
            with contextlib.suppress(OSError):  # whoever read it may be gone
                if opened is not None:
                    opened.close()
                os.write(_STDERR, "".join(others).encode())


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:  # of a process that was started without one
        return False
    return True


def _is_stderr(stream: object) -> bool:
    try:
        return stream.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):  # none, closed, or a test's own
        return False
