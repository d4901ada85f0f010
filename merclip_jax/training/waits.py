"""How long training waits for its clips."""

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Waits(Generic[T]):
    """Items of an iterable, and the seconds that the caller waited for them."""

    def __init__(self, items: Iterable[T]):
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[T]:
        started = time.perf_counter()
        for item in self._items:
            self.seconds += time.perf_counter() - started
            yield item
            started = time.perf_counter()
