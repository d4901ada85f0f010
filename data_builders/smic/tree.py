"""The folders of SMIC-HS: subject, emotion and clip, all in their names.

A clip is `s3_ne_03` in the folder `s03`; MEGC2019's list writes it `s03_ne_03`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data_builders.readers.findings import Finding
from data_builders.readers.folders import subfolders
from data_builders.readers.release import Row
from data_builders.readers.trees import emotion_folders, named_folders, place, span

FPS = 100.0
EMOTIONS = {"negative": 70, "positive": 51, "surprise": 43}  # published clips
# What a clip's name says of its emotion.
CODES = {"ne": "negative", "po": "positive", "sur": "surprise"}
SUBJECT = "s0*([1-9][0-9]?)"
CLIP = f"{SUBJECT}_(ne|po|sur)_0*([1-9][0-9]{{0,8}})"

Key = tuple[int, str, int]


@dataclass(frozen=True)
class Folder:
    """A clip's folder; `clip` is its full name, such as "s03/s3_ne_03"."""

    clip: str
    subject: str
    emotion: str
    path: Path


def clip_key(name: str) -> Key | None:
    """Returns (subject, code, number), the same for s3_ne_03 and s03_ne_03, or None."""
    match = re.fullmatch(CLIP, name, re.IGNORECASE)
    return (int(match[1]), match[2].lower(), int(match[3])) if match else None


def short_clips(tree: Path, manual_dir: Path) -> tuple[list[Folder], list[Finding]]:
    """Lists the clips of `HS/s01/micro/negative/s1_ne_01/`.

    Other parts than micro/ hold none.

    Args:
        tree: The folder HS/.
        manual_dir: The owners' folder, for the findings.
    """
    clips: list[Folder] = []
    subjects, findings = named_folders(tree, SUBJECT, manual_dir)
    for match, folder in subjects:
        micro = subfolders(folder).get("micro")
        if micro is None:
            text = "expected a folder micro/ in it, found none"
            findings.append(Finding("folder", place(folder, manual_dir), text))
            continue
        emotions, found = emotion_folders(micro, EMOTIONS, manual_dir)
        findings += found
        for emotion, path in emotions:
            made, found = _clips(path, int(match[1]), emotion, manual_dir)
            clips += made
            findings += found
    return clips, findings


def long_clips(tree: Path, manual_dir: Path) -> tuple[list[Folder], list[Finding]]:
    """Lists the clips of `SMIC-HS-E/s01/s1_ne_01/`; the emotion is in their names.

    Args:
        tree: The folder SMIC-HS-E/.
        manual_dir: The owners' folder, for the findings.
    """
    clips: list[Folder] = []
    subjects, findings = named_folders(tree, SUBJECT, manual_dir)
    for match, folder in subjects:
        made, found = _clips(folder, int(match[1]), "", manual_dir)
        clips += made
        findings += found
    return clips, findings


def whole_rows(
    clips: list[Folder], manual_dir: Path
) -> tuple[list[Row], list[Finding]]:
    """Makes a row of each folder, from its first frame to its last.

    Args:
        clips: The folders.
        manual_dir: The owners' folder.

    Returns:
        The rows, and a finding for each folder without frames.
    """
    rows: list[Row] = []
    findings: list[Finding] = []
    for clip in clips:
        frames, found = span(clip.path, clip.clip, manual_dir)
        findings += found
        if frames:
            where = place(clip.path, manual_dir)
            rows.append(row(clip, where, *frames))
    return rows, findings


def row(clip: Folder, where: str, onset: int, offset: int, *, name: str = "") -> Row:
    """Makes the row of a clip.

    Args:
        clip: Its folder.
        where: What lists it.
        onset: Number of the first frame.
        offset: Number of the last frame.
        name: What the clip is called, where it is a further one in the folder.
    """
    return Row(
        where=where,
        subject=clip.subject,
        clip=name or clip.clip,
        onset=onset,
        apex=None,
        offset=offset,
        fps=FPS,
        emotion=clip.emotion,
        au_cell="",
    )


def _clips(
    folder: Path, subject: int, emotion: str, manual_dir: Path
) -> tuple[list[Folder], list[Finding]]:
    clips: list[Folder] = []
    matched, findings = named_folders(folder, CLIP, manual_dir, example="s1_ne_01")
    for match, path in matched:
        name = f"s{subject:02d}/{path.name}"
        spoken = CODES[match[2].lower()]
        wrong = []
        if int(match[1]) != subject:
            wrong.append(f"subject {match[1]} in the folder of subject {subject}")
        if emotion and spoken != emotion:
            wrong.append(f"{match[2]} in the folder {emotion}")
        if wrong:
            where = f"{place(path, manual_dir)}, clip {name}"
            findings.append(Finding("table", where, " and ".join(wrong), name))
        else:
            # The folder's own spelling, for a record must lead back to it.
            clips.append(Folder(name, f"s{subject:02d}", spoken, path))
    return clips, findings
