"""Work on every clip, shared out over the cores and shown as a bar."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from merclip_jax import processes

Result = TypeVar("Result")


def in_order(
    work: Callable[[int], Result], count: int, *, says: str, threads: int | None = None
) -> Iterator[Result]:
    """Yields work(0), work(1), ... as they come due.

    Args:
        work: mostly that of a library that lets other threads run meanwhile.
        count: how often.
        says: what the bar calls it.
        threads: None for one a core.
    """
    pool = ThreadPoolExecutor(threads or os.cpu_count(), says)
    try:
        yield from tqdm(
            pool.map(work, range(count)),
            total=count,
            desc=says,
            leave=False,
            disable=not processes.first(),
        )
    finally:  # who stops it must not wait for the others
        pool.shutdown(cancel_futures=True)
