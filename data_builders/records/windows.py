"""Clips with what comes before and after, and stretches in which nothing shows.

For models of raw video: an expression somewhere in a window, and windows without one as
clips of the emotion "none". Both are cut from the recordings that the clips are of.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from data_builders.readers.findings import DatasetError
from data_builders.readers.macro import MacroExpressions, Span
from data_builders.readers.release import Clip, Release, Row
from data_builders.tasks import NOTHING

SECONDS = 0.74  # of a stretch without an expression: a window, with room to move it
_APART = 0.2  # seconds between it and any expression


def in_windows(
    release: Release,
    seconds: float,
    macro: MacroExpressions = MacroExpressions(),  # noqa: B008 - frozen
) -> Release:
    """Widens every clip, and adds as many stretches without an expression.

    Args:
        release: What was found.
        seconds: What a clip has before its onset and after its offset, where such
            pictures are and no other expression begins or ends.
        macro: What else the recordings show.

    Returns:
        The same with other clips; its rows stay.

    Raises:
        DatasetError: If no recording has a picture outside of its expressions.
    """
    shared: dict[Path, list[Clip]] = {}
    for clip in release.clips:
        shared.setdefault(clip.files[min(clip.files)].parent, []).append(clip)
    clips: list[Clip] = []
    for own in shared.values():
        taken = [(clip.row.onset, clip.row.offset) for clip in own]
        taken += macro.beside(own[0].row.clip)
        clips += [*_widened(own, seconds, taken), *_empty(own, taken)]
    longer = sum(len(c.files) for c in clips) > sum(len(c.files) for c in release.clips)
    if not longer:
        raise DatasetError(
            f"--windows: {release.layout} holds no picture outside of onset..offset: "
            "give a config of whole recordings or camera frames"
        )
    clips.sort(key=lambda clip: (clip.row.split, clip.row.clip))
    return replace(release, clips=tuple(clips))


def _widened(
    own: Sequence[Clip], seconds: float, spans: Sequence[Span]
) -> Iterator[Clip]:
    for clip in own:
        row = clip.row
        reach = round(seconds * row.fps)
        before = [b for a, b in spans if b < row.onset]
        after = [a for a, b in spans if a > row.offset]
        low = max([row.onset - reach, *(b + 1 for b in before)])
        high = min([row.offset + reach, *(a - 1 for a in after)])
        files = {n: p for n, p in clip.around.items() if low <= n <= high}
        yield replace(clip, files=dict(sorted({**files, **clip.files}.items())))


def _empty(own: Sequence[Clip], taken: Sequence[Span]) -> Iterator[Clip]:
    """As many stretches as the recording has clips, spread over what is free."""
    row, around = own[0].row, dict(sorted(own[0].around.items()))
    length, apart = round(SECONDS * row.fps), round(_APART * row.fps)
    spans = [(a - apart, b + apart) for a, b in taken]
    found = list(_stretches(list(around), spans, length))
    count = min(len(own), len(found))
    for i in range(count):
        numbers = found[i * len(found) // count]
        name = f"{own[i].row.clip}_{NOTHING}"
        yield Clip(
            _empty_row(own[i].row, name, numbers),
            {n: around[n] for n in numbers},
            own[i].numbers,
            around,
        )


def _empty_row(row: Row, name: str, numbers: Sequence[int]) -> Row:
    return replace(
        row,
        clip=name,
        onset=numbers[0],
        apex=None,
        offset=numbers[-1],
        emotion=NOTHING,
        au_cell="",
    )


def _stretches(
    numbers: Sequence[int], spans: Iterable[Span], length: int
) -> Iterator[list[int]]:
    """Runs of `length` pictures that follow each other and lie in no span."""
    taken, run = list(spans), []
    for number in numbers:
        free = not any(a <= number <= b for a, b in taken)
        if not free or (run and number != run[-1] + 1):
            run = []
        if free:
            run.append(number)
        if len(run) == length:
            yield run
            run = []
