"""Which clips are in a batch: a pure function of (seed, member, step)."""

from collections.abc import Sequence

import grain
import numpy as np


def member_batches(
    train: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    batch_size: int,
    balanced: bool = False,
) -> grain.MapDataset:
    """Endless clip indices [b] of one member, by random access: `ds[step]`.

    train: [k] indices of its training clips; labels: [n] of all clips. Every pass
    over the clips has its own order and batches run on from one pass into the next,
    so that none is short. `balanced` draws from the classes in turn.
    """
    if balanced:
        present = np.unique(labels[train])
        parts = [train[labels[train] == k] for k in present]
        passes = [
            _shuffled(part, seed=seed * 1000 + int(k))
            for part, k in zip(parts, present, strict=True)
        ]
        clips = grain.MapDataset.mix(passes)
    else:
        clips = _shuffled(train, seed=seed)
    return clips.batch(batch_size)


def _shuffled(clips: np.ndarray, *, seed: int) -> grain.MapDataset:
    return grain.MapDataset.source(clips).seed(seed % 2**31).shuffle().repeat()


def stack_batches(
    members: Sequence[grain.MapDataset], *, start: int, stop: int, scan_steps: int
) -> grain.MapDataset:
    """Indices [k, m, b] of k = `scan_steps` steps of a whole stack, from `start`."""

    def span(first: int) -> np.ndarray:
        steps = range(first, first + scan_steps)
        return np.stack([np.stack([ds[step] for ds in members]) for step in steps])

    return grain.MapDataset.range(start, stop, scan_steps).map(span)


def padded(indices: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """`indices` filled up to `length` by repetition, and which entries are real."""
    return np.resize(indices, length), np.arange(length) < len(indices)
