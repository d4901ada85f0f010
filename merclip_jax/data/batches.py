"""Which clips and frames are in a batch: a pure function of (seed, member, step)."""

from collections.abc import Callable, Sequence

import grain
import numpy as np

Batches = grain.MapDataset  # by random access: `batches[step]`
_DRAWS = 2**40  # more than any training asks for: sampling with replacement is endless


def member_batches(
    train: np.ndarray,
    labels: np.ndarray,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    *,
    seed: int,
    batch_size: int,
    balanced: bool = False,
) -> Batches:
    """Endless batches of one member, by random access: `ds[step]`.

    Args:
        train: [k] indices of its training clips.
        labels: [n] of all clips.
        draw: from indices [b] and a generator to positions of frames [b, t].
        seed: of the member.
        batch_size: b.
        balanced: draw with replacement, every class equally likely; else every pass
            over the clips has its own order.

    Returns:
        Pairs (clips [b], frames [b, t]).
    """
    # Random access makes a batch a function of (seed, step): no iterator's state must
    # be saved to resume, and members of a stack need not keep pace.
    seed = seed % 2**31  # what Grain takes
    if balanced:
        parts = [train[labels[train] == k] for k in np.unique(labels[train])]

        def any_class(_, rng: np.random.Generator) -> np.integer:
            return rng.choice(parts[rng.integers(len(parts))])

        clips = grain.MapDataset.range(_DRAWS).seed(seed).random_map(any_class)
    else:
        # Repeat before batch: batches run on from one pass into the next, so that none
        # is short. A short one would be another shape, hence another program.
        clips = grain.MapDataset.source(train).seed(seed).shuffle().repeat()

    # One draw for a batch, seeded by its step: the frames resume with the clips.
    def with_frames(index, rng: np.random.Generator):
        index = np.asarray(index)
        return index, draw(index, rng)

    return clips.batch(batch_size).random_map(with_frames)


def stack_batches(
    members: Sequence[Batches], *, start: int, stop: int, scan_steps: int
) -> Batches:
    """Batches of a stack, as many at a time as one call of the device trains on.

    Args:
        members: batches of each of the m members.
        start, stop: first step, and the one after the last.
        scan_steps: k, steps in one call.

    Returns:
        Pairs (clips [k, m, b], frames [k, m, b, t]).
    """

    def span(first: int) -> tuple[np.ndarray, np.ndarray]:
        steps = range(first, first + scan_steps)
        parts = [[ds[step] for ds in members] for step in steps]
        return tuple(
            np.stack([np.stack([one[i] for one in row]) for row in parts])
            for i in range(2)
        )

    return grain.MapDataset.range(start, stop, scan_steps).map(span)


def padded(indices: np.ndarray, length: int) -> np.ndarray:
    """Returns indices filled up by repetition, so that all batches have one shape.

    Args:
        indices: [n], n >= 1.
        length: of the result.
    """
    return np.resize(indices, length)
