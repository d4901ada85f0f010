"""A damaged table is read as what it says, or the cell, row or file is named."""

import copy
import csv
import datetime
import io
import re
import resource
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter

from data_builders.datasets import find
from data_builders.readers.findings import DatasetError
from merclip_jax import facs
from tests.fixtures.sets import SETS

SAME = {"happy": "happiness", "sad": "sadness", "other": "others"}
NO_APEX = {"", "/", "-", "?", "nan", "null", "none", "n/a"}
CASME2 = "casme2/cropped"
# What a workbook can hold: XML has no other control characters.
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"))
    | st.sampled_from("\t\n"),
    max_size=12,
)
PIECES = "0 1 4 9 12 14 46 59 L R or + / ? ( ) . .0 , - e E = # < & '".split()
values = st.one_of(
    st.none(),
    texts,
    st.lists(st.sampled_from([*PIECES, " ", "\xa0", "４"]), max_size=6).map("".join),
    st.integers(-(10**12), 10**12),
    st.integers(0, 130),
    st.floats(-60000, 60000, width=16),  # a workbook keeps 16 digits
    st.floats(0, 130).map(lambda number: float(round(number))),
    st.booleans(),
    st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2100, 1, 1)).map(
        lambda time: time.replace(microsecond=0)
    ),
    st.sampled_from(("#REF!", "=A1", "9" * 4301, "x" * 40_000, "Happy ", "SAD", "?")),
)


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    """Dataset -> its miniature's folder, its workbook in memory, and its release."""
    made = {}
    for name, case in SETS.items():
        root = tmp_path_factory.mktemp("owners")
        case.write(root)
        book = openpyxl.load_workbook(root / case.table)
        made[name] = root, book, read(root, name)
    return made


@pytest.fixture(autouse=True)
def memory():
    """No table may add a gigabyte to what the process has ever had."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


def read(root, dataset):
    cls, config = find(dataset)
    return cls.read(root, config)


def whole(value):
    """The whole number that a cell holds, by a second way of reading it."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value) if value == int(value) and 0 <= value < 10**9 else None
    text = str(value).strip().removesuffix(".0")
    plain = text.isascii() and text.isdigit()
    return int(text) if plain and len(text.lstrip("0")) <= 9 else None


def text_of(value):
    """The text of a cell, by a second way."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = "" if value is None else str(value)
    inner = text.strip()
    number = inner.endswith(".0") and inner[:-2].isascii() and inner[:-2].isdigit()
    return text.replace(inner, inner[:-2]) if number else text


def agrees(row, kind, value):
    """Whether what was read of a cell is what the cell says."""
    if kind in ("onset", "offset"):
        return getattr(row, kind) == whole(value)
    if kind == "apex":
        sign = text_of(value).strip().lower() in NO_APEX
        return row.apex == whole(value) and (row.apex is not None or sign)
    if kind == "emotion":
        parts = sorted({p.strip().lower() for p in text_of(value).split("+")})
        return row.emotion in {"+".join(sorted({SAME.get(p, p) for p in parts}))}
    if kind == "aus":
        said = [int(digits) for digits in re.findall("[0-9]+", text_of(value))]
        read = [au.number for au in facs.parse_cell(row.au_cell).aus]
        return row.au_cell == text_of(value) and read == said
    if kind == "name":
        name = text_of(value).strip()
        return (name if len(name) <= 500 else name[:60]) in row.clip
    return str(whole(value) or "") in row.subject or text_of(value).strip() != ""


def test_cells(tally, owners, tmp_path):
    @tally.given(110)
    @given(st.sampled_from(sorted(SETS)), st.data(), values)
    def run(dataset, data, value):
        case, (root, book, _) = SETS[dataset], owners[dataset]
        kind = data.draw(st.sampled_from(sorted(case.columns)))
        cell = book[case.sheet].cell(case.first, case.columns[kind])
        before, style = cell.value, copy.copy(cell._style)
        path = root / case.table
        try:
            cell.value = value
            book.save(path)
        finally:
            cell.value, cell._style = before, style  # a date brings its format
        where = f"{path.name}, row {case.first}"
        with tally.case(path.name, DatasetError):
            release = read(root, dataset)
            rows = [r for r in release.rows if r.where == where]
            told = [f for f in release.findings if where in f.where]
            # Never nothing: it is read as it stands, or told.
            assert (
                rows
                or any(f.stops or f.kind == "absent" for f in told)
                or (value is None or not str(value).strip())
            ), (kind, value, told)
            for row in rows:
                repaired = any(f.kind == "repaired" for f in told)
                assert repaired or agrees(row, kind, value), (kind, value, row)
            built = [c for c in release.clips if c.row.where == where]
            assert not built or rows

    run()


def edits(data, draw):
    """Bytes with some of them flipped, cut off, doubled or taken out."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(("flip", "cut", "insert", "remove", "zero")))
        if how == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[max(at, 1) :]
        elif how == "insert":
            data.insert(at, draw(st.sampled_from(tuple(b',"\n7\0\xff'))))
        elif how == "remove":
            del data[at : at + draw(st.integers(1, 40))]
        else:
            data[at : at + 20] = bytes(len(data[at : at + 20]))
        data = data or bytearray(b"x")
    return bytes(data)


def test_damaged_workbooks(tally, owners):
    _, book, release = owners[CASME2]
    root, case = owners[CASME2][0], SETS[CASME2]
    book.save(root / case.table)
    good = (root / case.table).read_bytes()

    @tally.given(45)
    @given(st.data())
    def run(data):
        (root / case.table).write_bytes(edits(good, data.draw))
        with tally.case(case.table, DatasetError):
            # Every part has a checksum: what is read is what was written.
            found = read(root, CASME2)
            assert found.rows == release.rows
            assert found.findings == release.findings

    run()


def test_far_cells(tally, owners):
    root, book, release = owners[CASME2]
    case = SETS[CASME2]

    far = st.tuples(st.integers(40, 2**20), st.integers(12, 2**14))

    @tally.given(10)
    @given(st.lists(far, max_size=3, unique=True))
    def run(places):
        sheet = book[case.sheet]
        names = [f"{get_column_letter(column)}{row}" for row, column in places]
        for name in names:
            sheet[name] = "far"
        book.save(root / case.table)
        for row, column in places:
            del sheet._cells[row, column]
        with tally.case(case.table, DatasetError):
            assert read(root, CASME2).rows == release.rows

    run()


def test_damaged_csv_files(tally, owners, tmp_path):
    root, book, _ = owners[CASME2]
    case = SETS[CASME2]
    lines = io.StringIO()
    csv.writer(lines).writerows(book[case.sheet].values)
    good = lines.getvalue().encode()
    path = tmp_path / Path(case.table).with_suffix(".csv").name
    (tmp_path / "Cropped" / "sub01" / "EP02_01f").mkdir(parents=True)

    @tally.given(40)
    @given(st.data())
    def run(data):
        path.write_bytes(edits(good, data.draw))
        with tally.case(path.name, DatasetError):
            found = read(tmp_path, CASME2)
            records = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
            titles = [" ".join(title.split()).lower() for title in records[0]]
            for row in found.rows:
                cells = records[int(row.where.rpartition(" ")[2]) - 1]
                own = dict(zip(titles, cells, strict=False))
                for kind, title in (
                    *(("onset", "onsetframe"), ("apex", "apexframe")),
                    *(("offset", "offsetframe"), ("aus", "action units")),
                    *(("emotion", "estimated emotion"), ("name", "filename")),
                ):
                    assert agrees(row, kind, own[title]), (kind, own, row)
            # No row is lost: it is read, or told.
            told = {f.where.partition(",")[2].split(",")[0] for f in found.findings}
            for number, cells in enumerate(records[1:], start=2):
                named = {r.where.rpartition(" ")[2] for r in found.rows}
                assert (
                    str(number) in named
                    or f" row {number}" in told
                    or not any(cell.strip() for cell in cells)
                )

    run()
