"""Work on many clips: in threads, answered in order, with little memory."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from data_builders.readers.findings import Finding
from data_builders.records.crop import ClipError

Made = tuple[object, list[Finding]]  # what a job makes, and what is odd in it


@dataclasses.dataclass(frozen=True)
class Job:
    """Work on a clip: its split, its full name, and what does it.

    `make` returns the features of a record, say, and what is odd, or raises ClipError.
    """

    split: str
    clip: str
    make: Callable[[], Made]


def progress(total: int, what: str, *, initial: int = 0) -> tqdm:
    """Makes a progress bar over clips, with the time that is left.

    Args:
        total: How many clips there are.
        what: Words in front of it.
        initial: How many are done already.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit="clip",
        disable=None,  # where nobody looks at a terminal
        smoothing=0.05,
    )


def in_order(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Made | Finding]]:
    """Does jobs in threads; at most `workers` + 1 results wait in memory.

    Args:
        jobs: What to do.
        workers: How many threads.

    Yields:
        (job, what it makes, or the finding that it fails with), in order of jobs.
    """

    def run(job: Job) -> Made | Finding:
        try:
            return job.make()
        except ClipError as error:
            return error.finding

    # Threads: OpenCV, which does nearly all of the work, lets go of Python's lock.
    with ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for job in jobs:
                waiting.append((job, pool.submit(run, job)))
                if len(waiting) > workers:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:  # the caller has had enough: do not make it wait for the others
            for _, result in waiting:
                result.cancel()
