"""DFME: micro-expressions at 200 to 500 fps, seven emotions (Zhao et al., 2023).

README.md beside this file: access, layout, oddities, and what the licence asks of you.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder
from data_builders.dfme import full, table
from data_builders.files import DatasetError, find_tree, subfolders
from data_builders.release import Finding, Release, Row, gather
from data_builders.trees import expect_clips, place

TREES = {"train": "train_data", "test_a": "test_data_A", "test_b": "test_data_B"}


class Dfme(ClipBuilder):
    """DFME; configs: ccac (default), full, full_cropped."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="ccac",
            description="publicly available part (CCAC2024): splits train, test_a, "
            "test_b; camera frames",
        ),
        tfds.core.BuilderConfig(
            name="full", description="full release, parts A to D: camera frames"
        ),
        tfds.core.BuilderConfig(
            name="full_cropped",
            description="full release, parts A to D: aligned face crops",
        ),
    ]
    CROPPED = frozenset({"full_cropped"})
    DESCRIPTION = "DFME spontaneous micro-expressions at up to 500 frames per second"
    HOMEPAGE = "https://mea-lab-421.github.io"
    LICENSE = (
        "licence signed by a supervisor; academic use only; no passing samples to "
        "third parties; some faces may not be shown"
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
DFME may not be passed on: each group applies to its owners.
1. Apply: https://mea-lab-421.github.io (DFME_license.pdf signed by a supervisor;
   academic use only; samples go to no third party; some faces may not be shown).
2. Put the files into one folder, unpacked, for example ~/data/DFME:
     ~/data/DFME/full_release_annotation/training_full_with_AU.xlsx       dfme/ccac
     ~/data/DFME/full_release_annotation/test{A,B}_full_with_AU.xlsx      dfme/ccac
     ~/data/DFME/train_data/train_data/sub0003_01/00109.png ...           dfme/ccac
     ~/data/DFME/test_data_A/test_data_A/sub0008_01/...  (and B)          dfme/ccac
     ~/data/DFME/USTC_MEv4_partA_sub0001_sub0015/micro/anger/...          dfme/full
     .../micro_static_aligned_croped/anger/...                    dfme/full_cropped
   One of the three is enough.
3. Type:
     python -m data_builders.build --dataset=dfme/ccac --manual_dir=~/data/DFME
"""

    @classmethod
    def read(cls, manual_dir: Path, config: str) -> Release:
        if config == "ccac":
            return _ccac(cls.name, manual_dir)
        parts, findings = full.find_parts(manual_dir, config)
        clips, found = full.find_clips(parts, manual_dir)
        expect_clips(
            cls.name, clips, found, manual_dir, f"{parts[0].tree}/anger/{full.EXAMPLE}/"
        )
        rows, tables, odd = full.read_rows(clips, manual_dir)
        trees = ", ".join(f"{place(part.tree, manual_dir)}/" for part in parts)
        return gather(
            cls.name,
            rows,
            {clip.clip.lower(): clip.path for clip in clips.values()},
            root=manual_dir,
            layout=f"{trees} ({config})",
            table=tables,
            version=", ".join(sorted({part.edition for part in parts})),
            findings=[*findings, *found, *odd],
            whole=True,
        )


def _ccac(name: str, manual_dir: Path) -> Release:
    """The splits that lie there; a test may be lacking, what to train on may not."""
    rows: list[Row] = []
    folders: dict[str, Path] = {}
    findings: list[Finding] = []
    trees, tables = [], []
    # In the order in which `gather` looks at the splits: a clip twice is its first.
    for split in sorted(TREES):
        path, tree = (
            table.find(manual_dir, split),
            find_tree(manual_dir, [TREES[split]]),
        )
        lacking = [] if path else [f"the table {table.TABLES[split]}"]
        lacking += [] if tree else [f"a folder {TREES[split]}/ with clips inside"]
        if lacking:
            text = f"expected {' and '.join(lacking)}"
            if split == "train":
                raise DatasetError(f"{manual_dir}: {text}")
            text = f"{text}, found none; split {split} is not in the release"
            findings.append(Finding("absent", str(manual_dir), text))
            continue
        listed, found = table.read(path, split)
        findings += found
        clips = subfolders(tree)
        for row in listed:
            clip_name = row.clip.rpartition("/")[2].lower()
            if clip_name in clips:
                folders.setdefault(row.clip.lower(), clips[clip_name])
        told = {clip.rpartition("/")[2].lower() for clip in _clips(listed, found)}
        for clip_name in sorted(set(clips) - told):
            where = f"{path.name}, clip {clips[clip_name].name}"
            text = f"not in the table; {clips[clip_name]} is passed over"
            findings.append(Finding("unlisted", where, text, clips[clip_name].name))
        rows += listed
        trees.append(f"{place(tree, manual_dir)}/")
        tables.append(path.name)
    findings += _shared_subjects(rows)
    return gather(
        name,
        rows,
        folders,
        root=manual_dir,
        layout=f"{', '.join(trees)} (ccac)",
        table=", ".join(tables),
        version="CCAC2024",
        findings=findings,
        whole=True,
    )


def _clips(rows: list[Row], findings: list[Finding]) -> list[str]:
    """Clips that a table lists, those of wrong rows too."""
    return [row.clip for row in rows] + [finding.clip for finding in findings]


def _shared_subjects(rows: list[Row]) -> list[Finding]:
    """Published splits share no subject; a shared one would leak into the test."""
    first: dict[str, Row] = {}
    findings = []
    told = set()
    for row in rows:
        other = first.setdefault(row.subject, row)
        if other.split != row.split and (row.subject, row.split) not in told:
            told.add((row.subject, row.split))
            where = f"{row.where}, column 'Subject'"
            text = f"{row.subject} of {row.split} is in {other.split} too"
            findings.append(Finding("table", where, f"{text} ({other.where})"))
    return findings
