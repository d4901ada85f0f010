"""The one reader, on a dataset of one's own: what docs/datasets.md declares."""

import dataclasses
import pathlib
import re

import pytest
import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.readers import reader
from data_builders.readers.cells import integer
from data_builders.readers.declaration import (
    Columns,
    Edition,
    Mended,
    Named,
    Rates,
    Table,
    Tree,
)
from data_builders.readers.findings import DatasetError
from tests.fixtures.findings import found, one
from tests.fixtures.workbook import listed, write_workbook

HEADER = ("who", "clip", "first", "peak", "last", "AUs", "label")
ROWS = [
    ("p1", "a", 1, 4, 20, "4+7", "anger"),
    ("p1", "b", 3, None, 22, "12", "joy"),
    ("p2", "a", 0, 9, 19, "", "anger"),
]


def name(cells):
    wrong = {column: "a name" for column, cell in cells.items() if not cell}
    return Named(subject=cells["who"], name=cells["clip"], wrong=wrong)


TABLE = Table(
    called="the table labels.xlsx",
    editions=(
        Edition(
            pattern="labels_v2[.]xlsx", emotions={"anger": 2, "joy": 1}, version="v2"
        ),
        Edition(pattern="labels[.]xlsx", emotions={"anger": 2, "joy": 1}),
    ),
    columns=Columns(
        names=("who", "clip"),
        frames=("first", "peak", "last"),
        emotion="label",
        aus="AUs",
    ),
    fps=100.0,
    name=name,
)
TREE = Tree(description="frames", folder="frames", inside="p1/a/")


def write(root, rows=ROWS, table="labels.xlsx"):
    write_workbook(root / table, {"Sheet": [HEADER, *rows]})
    for who, clip, first, _, last, *_ in ROWS:
        folder = root / "frames" / who / clip
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, last + 1):
            (folder / f"{number}.png").touch()
    return root


def read(root, table=TABLE, tree=TREE):
    return reader.read("own", table, tree, "all", root)


def test_a_table_and_a_tree_are_enough(tmp_path):
    release = read(write(tmp_path))
    assert [clip.row.clip for clip in release.clips] == ["p1/a", "p1/b", "p2/a"]
    first = release.clips[0].row
    assert (first.onset, first.apex, first.offset) == (1, 4, 20)
    assert (first.emotion, first.au_cell, first.fps) == ("anger", "4+7", 100)
    assert release.layout == "frames/ (all)" and release.version == "3 of 3 rows"
    kinds = {finding.kind for finding in release.findings}
    assert kinds == {"apex_missing", "no_aus"}


def test_editions_are_preferred_in_their_order(tmp_path):
    write(write(tmp_path), table="labels_v2.xlsx")
    release = read(tmp_path)
    assert (release.table, release.version) == ("labels_v2.xlsx", "v2")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match="expected the table labels.xlsx"):
        read(tmp_path)
    write_workbook(tmp_path / "labels.xlsx", {"Sheet": [HEADER, *ROWS]})
    words = r"expected a folder frames/ with p1/a/ and so on inside \(own/all; why\)"
    with pytest.raises(DatasetError, match=words):
        read(tmp_path, tree=dataclasses.replace(TREE, hint="why"))


def test_every_wrong_cell_of_a_row_is_named(tmp_path):
    write(tmp_path, [("p1", None, "x", 4, 20, "4++7", "fear"), *ROWS[1:]])
    told = found(read(tmp_path), "table")
    columns = ["clip", "first", "AUs", "label"]
    assert [f.where for f in told] == [
        f"labels.xlsx, row 2, clip 'p1/', column {column!r}" for column in columns
    ]
    assert told[0].text == "expected a name, found None"
    assert told[-1].text == "expected one of anger, joy, found 'fear'"


def test_a_row_known_to_be_broken_is_repaired_where_it_stands_so(tmp_path):
    table = dataclasses.replace(TABLE, repairs={("p1/a", 1): {"peak": (4, 14)}})
    release = read(write(tmp_path), table)
    assert release.rows[0].apex == 14
    finding = one(release, "repaired")
    assert str(finding).endswith("column 'peak': 4 in the table, read as 14")
    write(tmp_path, [("p1", "a", 1, 5, 20, "4+7", "anger"), *ROWS[1:]])
    assert not found(read(tmp_path, table), "repaired")


def test_a_rule_mends_a_row_and_is_told_though_the_row_is_wrong(tmp_path):
    def mend(record, folders):
        last = len(list(folders[0].iterdir())) if folders else 0
        return None if integer(record["last"]) else Mended({"last": last}, "mended")

    table = dataclasses.replace(TABLE, mend=mend)
    write(tmp_path, [("p1", "a", 1, 4, None, "4+7", "anger"), *ROWS[1:]])
    release = read(tmp_path, table)
    assert release.rows[0].offset == 20 and one(release, "repaired").text == "mended"
    write(tmp_path, [("p1", "a", 1, 4, None, "4+7", "fear"), *ROWS[1:]])
    release = read(tmp_path, table)
    assert one(release, "repaired") and one(release, "table")


def test_rates_may_stand_in_the_rows(tmp_path):
    table = dataclasses.replace(TABLE, fps=Rates("rate", (100, 200)))
    rows = [(*row, rate) for row, rate in zip(ROWS, (100, 200, 30), strict=True)]
    write_workbook(tmp_path / "t.xlsx", {"Sheet": [(*HEADER, "rate"), *rows]})
    rows, (wrong,) = listed(table, tmp_path / "t.xlsx")
    assert [row.fps for row in rows] == [100, 200]
    assert "column 'rate'" in wrong.where
    assert wrong.text == "expected one of 100, 200, found 30"


def test_a_folder_that_no_row_takes_is_told_but_not_that_of_a_wrong_row(tmp_path):
    write(tmp_path, [("p1", "a", "x", 4, 20, "4+7", "anger"), *ROWS[1:2]])
    release = read(tmp_path)
    finding = one(release, "unlisted")
    assert finding.where == str(tmp_path / "frames" / "p2" / "a")
    assert finding.text == "no row of labels.xlsx takes it"


def test_counts_that_are_not_published_are_not_compared(tmp_path):
    write(tmp_path, [(*row[:-1], "joy") for row in ROWS])
    assert one(read(tmp_path), "counts").stops
    edition = Edition(
        pattern="labels[.]xlsx", emotions=dict.fromkeys(("anger", "joy")), rows=9
    )
    table = dataclasses.replace(TABLE, editions=(edition,))
    release = read(tmp_path, table)
    assert not found(release, "counts") and release.version == "3 of 9 rows"


def test_emotions_that_combine_or_lack(tmp_path):
    rows = [(*ROWS[0][:-1], "joy + Anger"), (*ROWS[1][:-1], None)]
    write_workbook(tmp_path / "t.xlsx", {"Sheet": [HEADER, *rows]})
    combined = dataclasses.replace(TABLE, combined=True)
    (row,), (wrong,) = listed(combined, tmp_path / "t.xlsx")
    assert row.emotion == "anger+joy"
    assert wrong.text == "expected some of anger, joy, joined by '+', found None"
    both = dataclasses.replace(combined, unlabelled=True)
    rows, findings = listed(both, tmp_path / "t.xlsx")
    assert [row.emotion for row in rows] == ["anger+joy", ""] and not findings


DOCS = pathlib.Path(__file__).parents[3] / "docs" / "datasets.md"


def test_the_example_of_the_docs_reads_a_dataset(tmp_path):
    (code,) = re.findall("```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    scope = {"tfds": tfds, "ClipBuilder": ClipBuilder, "configs_of": configs_of}
    scope |= {c.__name__: c for c in (Columns, Edition, Named, Table, Tree)}
    exec(code, scope)
    header = ("Subject", "Clip", "Onset", "Apex", "Offset", "Emotion", "AU")
    rows = [(7, "clip03", 5, 12, 30, "anger", "4"), ("x", "clip04", 5, 6, 7, "", "")]
    write_workbook(tmp_path / "labels.xlsx", {"Sheet": [header, *rows]})
    folder = tmp_path / "crops" / "s07" / "clip03"
    folder.mkdir(parents=True)
    for number in range(5, 31):
        (folder / f"{number}.jpg").touch()
    mine = scope["Mine"]
    assert list(mine.builder_configs) == ["frames", "crops"]
    release = mine.read(tmp_path, "crops")
    (clip,) = release.clips
    assert clip.row.clip == "s07/clip03" and len(clip.files) == 26
    assert release.version == "1 of 100 rows"
    assert "expected a number such as 7, found 'x'" in str(release.findings[0])
    with pytest.raises(DatasetError, match=r"a folder frames/ with s07/clip03/ and"):
        mine.read(tmp_path, "frames")
