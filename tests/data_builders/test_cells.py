"""A cell that cannot be read stops its clip and is quoted, in every dataset's table."""

import datetime
import os
from pathlib import Path

import openpyxl
import pytest

from data_builders import doctor
from data_builders.datasets import find
from tests.fixtures.findings import found
from tests.fixtures.sets import SETS

UNREADABLE = (
    *("15 (?)", "1,500", "15.5", 15.5, "#REF!", "<script>", "x", -1, "-1", "1e3", True),
    *(datetime.datetime(2015, 1, 15), "１５ ?", "=A1", "=1+1", 10**10, "9" * 4301),
    "0x1F",
)
# What owners and spreadsheet programs write for none.
NONE = (None, "", " ", "/", "-", "NULL", "null", "NaN", "n/a", "?")
APEXES = [name for name, case in SETS.items() if "apex" in case.columns]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Dataset -> its miniature, and its table as it was."""
    made = {}
    for name, case in SETS.items():
        root = tmp_path_factory.mktemp("owners")
        case.write(root)
        made[name] = root, (root / case.table).read_bytes()
    return made


def read(written, dataset, kind, value):
    """The release with a cell of its first row changed."""
    case, (root, table) = SETS[dataset], written[dataset]
    (root / case.table).write_bytes(table)
    book = openpyxl.load_workbook(root / case.table)
    book[case.sheet].cell(case.first, case.columns[kind]).value = value
    book.save(root / case.table)
    cls, config = find(dataset)
    return cls.read(root, config)


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("dataset", APEXES)
def test_an_apex_that_cannot_be_read_stops(written, dataset, value):
    # A program may show 1 for TRUE, but TRUE is no frame.
    release = read(written, dataset, "apex", value)
    (finding,) = found(release, "table")
    assert f"row {SETS[dataset].first}," in finding.where
    assert "column " in finding.where and len(finding.text) < 300
    text = isinstance(value, str | datetime.date)
    shown = str(value) if text else repr(value)
    assert shown[:60] in finding.text
    assert ("a formula without a value" in finding.text) == shown.startswith("=")


@pytest.mark.parametrize("value", NONE)
@pytest.mark.parametrize("dataset", APEXES)
def test_a_sign_for_no_apex_is_none(written, dataset, value):
    release = read(written, dataset, "apex", value)
    assert not found(release, "table")
    where = f"{Path(SETS[dataset].table).name}, row {SETS[dataset].first}"
    row = next(row for row in release.rows if row.where == where)
    assert row.apex is None
    assert row.clip in {f.clip for f in found(release, "apex_missing")}


@pytest.mark.parametrize("value", UNREADABLE[:3] + UNREADABLE[-5:])
@pytest.mark.parametrize("kind", ["onset", "offset"])
@pytest.mark.parametrize("dataset", SETS)
def test_an_onset_or_offset_that_cannot_be_read_stops(written, dataset, kind, value):
    release = read(written, dataset, kind, value)
    assert found(release, "table"), release.findings
    assert all(len(f"{f.where}{f.text}") < 900 for f in release.findings)


@pytest.mark.parametrize("kind", ["aus", "emotion", "name", "subject"])
@pytest.mark.parametrize("dataset", SETS)
def test_a_formula_that_was_never_calculated_is_named(written, dataset, kind):
    if kind not in SETS[dataset].columns:
        pytest.skip("no such column")
    release = read(written, dataset, kind, "=Z9&1")
    told = [f for f in release.findings if "=Z9&1" in f"{f.text}{f.where}"]
    assert told and f"row {SETS[dataset].first}" in told[0].where
    # MMEW's subject is in the clip's name, which is believed; all others stop.
    believed = (dataset, kind) == ("mmew/cropped", "subject")
    assert any(f.stops for f in told) != believed


@pytest.mark.parametrize("dataset", SETS)
def test_a_file_with_a_frame_number_of_ten_digits_is_named(written, dataset):
    case, (root, table) = SETS[dataset], written[dataset]
    (root / case.table).write_bytes(table)
    path = min(p for p in root.glob(case.frames) if not p.name.startswith("."))
    other = path.with_name(f"img{10**10}{path.suffix}")
    os.link(path, other)
    try:
        cls, config = find(dataset)
        release = cls.read(root, config)
    finally:
        other.unlink()
    assert any(
        f.stops and f"{other}: expected a frame number of up to 9 digits" in f.text
        for f in release.findings
    )


def test_the_doctor_says_it_and_ends(written, capsys):
    read(written, "casme2/cropped", "offset", "9" * 4301)
    root, _ = written["casme2/cropped"]
    assert doctor.main(["--dataset=casme2", f"--manual_dir={root}", "--quick"]) == 1
    shown = capsys.readouterr().out
    assert "column 'OffsetFrame'" in shown and "(4301 characters)" in shown
