"""Which of a folder's pictures are a clip's, and what is odd in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_builders.readers import frame_numbers as numbering
from data_builders.readers.findings import Finding
from data_builders.readers.release import Row
from merclip_jax.data.sampling import FRAMES

_FEW = 2  # clips with few of their frames that are no sign of a wrong tree


@dataclass(frozen=True)
class Frames:
    """A row, its folder with all its files, and those of them in onset..offset."""

    row: Row
    folder: Path
    files: Mapping[int, Path]
    inside: dict[int, Path]
    in_order: bool  # numbers are positions

    @classmethod
    def of(
        cls, row: Row, folder: Path, files: Mapping[int, Path], frame_numbers: str
    ) -> "Frames":
        in_order = frame_numbers == numbering.POSITIONS
        if in_order:
            files = numbering.by_position(files, (row.onset, row.offset))
        inside = {n: p for n, p in files.items() if row.onset <= n <= row.offset}
        return cls(row, folder, files, inside, in_order)

    @property
    def expected(self) -> int:
        return self.row.offset - self.row.onset + 1

    @property
    def sparse(self) -> bool:
        """Whether fewer than half of the frames are there."""
        return 2 * len(self.inside) < self.expected

    @property
    def empty(self) -> bool:
        """Whether neither the beginning nor the end of the clip is there."""
        near = self.expected // 4
        return not any(
            n <= self.row.onset + near or n >= self.row.offset - near
            for n in self.inside
        )


def renumbered(
    all_frames: Sequence[Frames], frame_numbers: str, whole: bool
) -> dict[str, str]:
    """Clip -> why it cannot be said which of its pictures are onset..offset."""
    if frame_numbers == numbering.NAMES:
        return {}
    if frame_numbers == numbering.POSITIONS:
        return {
            frames.row.clip: f"expected at most {frames.expected} pictures in "
            f"{frames.folder}, found {len(frames.files)}: which of them are "
            f"{frames.row.onset}..{frames.row.offset} is not known"
            for frames in all_frames
            if len(frames.files) > frames.expected
        }
    spans = [(frames.row.onset, frames.row.offset) for frames in all_frames]
    numbers = [tuple(frames.files) for frames in all_frames]
    reasons = numbering.renumbered(zip(spans, numbers, strict=True), whole=whole)
    return {
        frames.row.clip: f"{frames.folder}: {reason}"
        for frames, reason in zip(all_frames, reasons, strict=True)
        if reason
    }


def wrong_tree(all_frames: Sequence[Frames]) -> str:
    """Why clips with few of their frames are none: many are so; "" for few clips."""
    # Cameras drop frames: real clips of CAS(ME)^3 have a third of theirs. So few are no
    # error in one clip, but they are in many, for then the tree is another's.
    sparse, total = sum(frames.sparse for frames in all_frames), len(all_frames)
    if sparse <= _FEW or sparse <= total / 4:
        return ""
    return f"; so it is with {sparse} of {total} clips: is this the right tree?"


def frame_findings(frames: Frames, whole: bool, wrong: str) -> list[Finding]:
    """What is odd in a clip's frames; `wrong`: why few of them are no clip, or ""."""
    row, inside, expected = frames.row, frames.inside, frames.expected
    found = []
    if frames.empty or (frames.sparse and wrong):
        text = (
            f"expected frames {row.onset}..{row.offset} in {frames.folder}, found "
            f"{len(inside)} of them{wrong}"
        )
        return [Finding("empty", row.place, text, row.clip)]
    if len(inside) < expected:
        text = f"{len(inside)} of {expected} frames"
        if frames.in_order:
            text += ", taken in order: which of them are missing is not known"
        found.append(Finding("missing", row.place, text, row.clip))
    if (beside := len(frames.files) - len(inside)) and not whole:
        text = f"{beside} frame{'s' * (beside > 1)} outside {row.onset}..{row.offset}"
        found.append(Finding("extra", row.place, text, row.clip))
    if len(inside) < FRAMES:
        many = "1 frame" if len(inside) == 1 else f"{len(inside)} frames"
        text = f"{many}; the first ones are repeated to make {FRAMES}"
        found.append(Finding("short", row.place, text, row.clip))
    return found
