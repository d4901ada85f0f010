"""CASME II: 255 micro-expressions of 26 subjects at 200 fps (Yan et al., 2014).

Reads the owners' tree and coding table into the features of
`data_builders.annotations`, one split "clips". README.md: access, layout, oddities.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds
from tqdm import tqdm

from data_builders.annotations import (
    DatasetError,
    clip_example,
    clip_features,
    frame_files,
    key_indices,
    recorded,
)
from data_builders.casme2.table import ROWS, Row, Table, find_table, read_table

FPS = 200.0
TREES: dict[str, str] = {
    "cropped": "Cropped",
    "selected": "CASME2_RAW_selected",
    "raw": "CASME2-RAW",
}
_TREE_NOTES = {
    "cropped": "aligned face crops, onset to offset, about 280 x 340",
    "selected": "camera frames, onset to offset, 640 x 480",
    "raw": "camera frames of the whole recordings, 640 x 480",
}
_SHOWN = 10  # problems listed before "and so on"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True)
class Clip:
    """A row of the table with its frames on disk, by ascending number."""

    row: Row
    files: dict[int, Path]


class Casme2(tfds.core.GeneratorBasedBuilder):
    """CASME II; configs: cropped (default), selected, raw."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=f"{folder}/: {note}")
        for (name, folder), note in zip(
            TREES.items(), _TREE_NOTES.values(), strict=True
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
CASME II may not be redistributed: each institution applies to its owners.
1. Apply: http://casme.psych.ac.cn/casme/e2 (a licence agreement signed by a member of
   staff of your institution; academic use only).
2. Put the files into one folder, unpacked, for example ~/data/CASME2:
     ~/data/CASME2/CASME2-coding-20190701.xlsx   (or CASME2-coding-20140508.xlsx)
     ~/data/CASME2/Cropped/sub01/EP02_01f/reg_img46.jpg ...              casme2/cropped
     ~/data/CASME2/CASME2_RAW_selected/sub01/EP02_01f/img46.jpg ...      casme2/selected
     ~/data/CASME2/CASME2-RAW/sub01/EP02_01f/img1.jpg ...                casme2/raw
   One of the three trees is enough.
3. Type:
     python -m data_builders.build --dataset=casme2/cropped --manual_dir=~/data/CASME2
"""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="CASME II spontaneous micro-expressions, with AUs and emotions",
            features=clip_features(),
            metadata=tfds.core.MetadataDict(),
            homepage="http://casme.psych.ac.cn/casme/e2",
            license="signed licence agreement; academic use; no redistribution",
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, object]]]]:
        manual_dir = Path(dl_manager.manual_dir)
        table = read_table(*find_table(manual_dir))
        clips = find_clips(table, find_tree(manual_dir, self.builder_config.name))
        self.info.metadata["table"] = table.path.name
        self.info.metadata["notes"] = _notes(table, clips)
        examples = self._generate_examples(clips)
        return {"clips": recorded(examples, info=self.info, total=len(clips))}

    def _generate_examples(
        self, clips: list[Clip]
    ) -> Iterator[tuple[str, dict[str, object]]]:
        for clip in clips:
            yield f"casme2/{clip.row.name}", read_clip(clip)


def find_tree(manual_dir: Path, config: str) -> Path:
    """Folder of `config` that holds sub01 ..., in `manual_dir` or a folder of it.

    The archives often unpack to a doubled folder, and `-` and `_` are mixed up.
    """

    def same(name: str) -> bool:
        return name.lower().replace("_", "-") == TREES[config].lower().replace("_", "-")

    around = [p for p in (manual_dir, *sorted(manual_dir.glob("*"))) if p.is_dir()]
    for folder in (*around, *(p for a in around for p in sorted(a.glob("*")))):
        if not (same(folder.name) and folder.is_dir()):
            continue
        inner = [p for p in folder.iterdir() if same(p.name) and p.is_dir()]
        return inner[0] if inner else folder
    raise DatasetError(
        f"{manual_dir}: expected a folder {TREES[config]}/ with sub01/ and so on inside"
    )


def find_clips(table: Table, tree: Path) -> list[Clip]:
    """All rows of `table` with their frames, by clip name; raises with all problems."""
    problems = list(table.problems)
    clips = []
    folders = _subfolders(tree)
    subjects = {
        int(digits[1]): _subfolders(path)
        for name, path in folders.items()
        if (digits := re.fullmatch("sub0*([0-9]+)", name))
    }
    rows = sorted(table.rows, key=lambda row: row.name)
    for row in tqdm(rows, desc="casme2: check", unit="clip", disable=None):
        where = f"{table.path.name}, row {row.row}, clip {row.name}"
        folder = subjects.get(row.subject, {}).get(row.clip.lower())
        if folder is None:
            problems.append(f"{where}: expected the folder {tree / row.name}")
            continue
        try:
            found = frame_files(folder)
        except DatasetError as error:
            problems.append(f"{where}: {error}")
            continue
        files = {n: p for n, p in found.items() if row.onset <= n <= row.offset}
        # One clip of the set has 24 of its 38 frames; fewer than half is a wrong tree.
        if 2 * len(files) < row.offset - row.onset + 1:
            problems.append(
                f"{where}, columns 'OnsetFrame', 'OffsetFrame': expected frames "
                f"{row.onset}..{row.offset} in {folder}, found {len(files)} of them"
            )
        damaged = [p for p in files.values() if not _is_whole(p)]
        problems += [f"{where}: {p}: expected a whole jpg or png" for p in damaged]
        clips.append(Clip(row, files))
    if not table.rows:
        problems.append(f"{table.path}: expected rows of clips, found none")
    if problems:
        more = len(problems) - _SHOWN
        listed = "\n".join(f"  {text}" for text in problems[:_SHOWN])
        listed += f"\n  and {more} more" if more > 0 else ""
        raise DatasetError(f"CASME II: {len(problems)} problems\n{listed}")
    return clips


def read_clip(clip: Clip) -> dict[str, object]:
    """The features of one clip, its pictures as they are on disk."""
    row, numbers = clip.row, list(clip.files)
    apex, apex_valid = key_indices(numbers, row.onset, row.apex, row.offset)
    return clip_example(
        frames=[path.read_bytes() for path in clip.files.values()],
        frame_numbers=numbers,
        onset=0,
        apex=apex,
        offset=len(numbers) - 1,
        apex_valid=apex_valid,
        subject=f"casme2/sub{row.subject:02d}",
        clip=f"casme2/{row.name}",
        fps=FPS,
        emotion=row.emotion,
        au_cell=row.au_cell,
    )


def _notes(table: Table, clips: list[Clip]) -> list[str]:
    """What a user should know of the data as found; printed after the build."""
    notes = [f"coding table {table.path.name}, {len(clips)} of {ROWS} rows"]
    for clip in clips:
        expected = clip.row.offset - clip.row.onset + 1
        if len(clip.files) < expected:
            notes.append(f"{clip.row.name}: {len(clip.files)} of {expected} frames")
    return notes


def _subfolders(folder: Path) -> dict[str, Path]:
    return {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_dir()}


def _is_whole(path: Path) -> bool:
    """Whether a picture begins and ends as its format asks; does not decode it."""
    data = path.read_bytes()
    if path.suffix.lower() == ".png":
        return data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" in data[-64:]
    return data.startswith(_JPEG_START) and _JPEG_END in data[-1024:]
