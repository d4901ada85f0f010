"""Whether numbers of pictures are the table's: tools that cut faces number anew.

A clip img10.jpg..img29.jpg of a table becomes face_000001.jpg..face_000020.jpg, and
some of these are in 10..29 too. Read as frame numbers they make a clip that begins in
the middle of the expression.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

AUTO, NAMES, POSITIONS = READINGS = ("auto", "names", "positions")
FLAG = "--frame_numbers"
_NEAR = 2  # frames more or less than the table's: no other numbering, but loose ends

Span = tuple[int, int]  # numbers of the first and the last frame


def by_position(files: Mapping[int, Path], span: Span) -> dict[int, Path]:
    """Returns pictures by frame number, the first being the span's first."""
    return dict(enumerate(files.values(), start=span[0]))


def renumbered(
    clips: Iterable[tuple[Span, Sequence[int]]], *, whole: bool = False
) -> list[str]:
    """Decides for a dataset which clips' pictures bear other numbers than the table's.

    Args:
        clips: The table's span of each clip, and the numbers of all pictures in its
            folder, ascending.
        whole: Whether folders may hold whole recordings, so that numbers beside the
            span are nothing odd.

    Returns:
        For each why, "" where the numbers are the table's.
    """
    clips = list(clips)
    # Numbers that fit exactly and begin elsewhere than a tool would: one tool wrote all
    # pictures, so a clip that is a frame or two off has loose ends.
    proven = any(
        span[0] > 1 and tuple(numbers) == tuple(range(span[0], span[1] + 1))
        for span, numbers in clips
    )
    return [_why(span, numbers, proven, whole) for span, numbers in clips]


def _why(span: Span, numbers: Sequence[int], proven: bool, whole: bool) -> str:
    onset, offset = span
    expected = offset - onset + 1
    inside = [number for number in numbers if onset <= number <= offset]
    missing, beside = expected - len(inside), len(numbers) - len(inside)
    if not missing or not beside or (proven and max(missing, beside) <= _NEAR):
        return ""
    near = expected // 4
    run = numbers[-1] - numbers[0] + 1 == len(numbers)
    as_long = abs(len(numbers) - expected) <= max(_NEAR, expected // 10)
    begins = numbers[0] in (0, 1) or min(missing, beside) > _NEAR
    counted_anew = run and as_long and begins
    # As many frames lie beside the clip as are missing at one of its ends.
    slid = (
        inside
        and beside >= missing
        and not (
            any(number <= onset + near for number in inside)
            and any(number >= offset - near for number in inside)
        )
    )
    if not counted_anew and (whole or not slid):
        return ""
    return (
        f"expected frames {onset}..{offset}, found {len(numbers)} pictures numbered "
        f"{numbers[0]}..{numbers[-1]}: a tool that cuts faces may have numbered them "
        f"anew; {FLAG}={POSITIONS} takes them in order, {FLAG}={NAMES} by their numbers"
    )
