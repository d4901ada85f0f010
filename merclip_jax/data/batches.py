"""Which clips and frames are in a batch: a pure function of (seed, member, step)."""

from collections.abc import Callable, Sequence

import grain
import numpy as np

_DRAWS = 2**40  # more than any training asks for: sampling with replacement is endless


def member_batches(
    train: np.ndarray,
    labels: np.ndarray,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    *,
    seed: int,
    batch_size: int,
    balanced: bool = False,
) -> grain.MapDataset:
    """Endless (clips [b], frames [b, t]) of one member, by random access: `ds[step]`.

    train: [k] indices of its training clips; labels: [n] of all clips; draw: positions
    of the frames of some clips. Every pass over the clips has its own order and
    batches run on from one pass into the next, so that none is short. `balanced` draws
    with replacement instead, every class equally likely.
    """
    seed = seed % 2**31
    if balanced:
        parts = [train[labels[train] == k] for k in np.unique(labels[train])]

        def any_class(_, rng: np.random.Generator) -> np.integer:
            return rng.choice(parts[rng.integers(len(parts))])

        clips = grain.MapDataset.range(_DRAWS).seed(seed).random_map(any_class)
    else:
        clips = grain.MapDataset.source(train).seed(seed).shuffle().repeat()

    def with_frames(index, rng: np.random.Generator):
        index = np.asarray(index)
        return index, draw(index, rng)

    return clips.batch(batch_size).random_map(with_frames)


def stack_batches(
    members: Sequence[grain.MapDataset], *, start: int, stop: int, scan_steps: int
) -> grain.MapDataset:
    """Clips [k, m, b] and frames [k, m, b, t] of a stack's k = `scan_steps` steps."""

    def span(first: int) -> tuple[np.ndarray, np.ndarray]:
        steps = range(first, first + scan_steps)
        parts = [[ds[step] for ds in members] for step in steps]
        return tuple(
            np.stack([np.stack([one[i] for one in row]) for row in parts])
            for i in range(2)
        )

    return grain.MapDataset.range(start, stop, scan_steps).map(span)


def padded(indices: np.ndarray, length: int) -> np.ndarray:
    """`indices` filled up to `length` by repetition."""
    return np.resize(indices, length)
