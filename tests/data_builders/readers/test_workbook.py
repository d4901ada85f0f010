"""Files that are larger than any table, damaged, or hold formulas without values."""

import datetime
import re
import resource
import time
import zipfile

import openpyxl
import pytest
from openpyxl.worksheet.formula import ArrayFormula

from data_builders.readers import workbook
from data_builders.readers.findings import DatasetError
from data_builders.readers.workbook import read_cells

SHEET = "xl/worksheets/sheet1.xml"


def write(path, cells=((1, 1, "a"), (2, 1, 7))):
    made = openpyxl.Workbook()
    for row, column, value in cells:
        made.active.cell(row, column).value = value
    made.save(path)
    return path


def change(path, change, *, name=SHEET, method=zipfile.ZIP_DEFLATED):
    """Put what `change` makes of a part of a workbook in its place."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[name] = change(parts[name])
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def rows(*written):
    """Rows of XML, at the end of a sheet."""
    text = "".join(written).encode()
    return lambda sheet: sheet.replace(b"</sheetData>", text + b"</sheetData>")


def text_cell(row, text):
    kind = f'<c r="A{row}" t="inlineStr">'
    return f'<row r="{row}">{kind}<is><t>{text}</t></is></c></row>'


@pytest.fixture
def light():
    """Fails a test that takes 20 seconds or adds 1 GB to the process's peak."""
    begun, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - begun < 20
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak  # KiB
    assert added < 2**20, f"{added >> 10} MiB"


@pytest.mark.parametrize("cell", ["XFD1048576", "XFD1", "A1048576", "XFD20000"])
def test_one_far_cell_is_one_cell(tmp_path, light, cell):
    path = tmp_path / "t.xlsx"
    made = openpyxl.load_workbook(write(path))
    made.active[cell] = 5
    made.save(path)
    (found,) = read_cells(path).values()
    row, column = made.active[cell].row, made.active[cell].column
    assert found[row - 1][column - 1] == 5 and found[0][0] == "a" and found[1] == (7,)


FAR = [f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(9, 20_000)]
LARGE = {
    "texts": rows(*(text_cell(n, "x" * 2**20) for n in range(9, 90))),
    "far cells": rows(*FAR),
    "far row": rows('<row r="99999999999"><c r="A1"><v>1</v></c></row>'),
    "rows": rows(*(text_cell(n, "x") for n in range(9, 300_000))),
    "attributes": rows(
        '<row r="9"><c ', " ".join(f'a{n}=""' for n in range(3_000_000)), "/></row>"
    ),
    "cells of a row": rows('<row r="9">', "<c/>" * 9_000_000, "</row>"),
}


@pytest.mark.parametrize("what", LARGE)
def test_more_than_a_table_is_refused_in_time(tmp_path, light, what):
    path = write(tmp_path / "t.xlsx")
    change(path, LARGE[what])
    assert path.stat().st_size < 2**23
    with pytest.raises(DatasetError, match="t.xlsx: .*more than [0-9]+ .*CSV file"):
        read_cells(path)


def test_a_part_of_another_name_counts_as_well(tmp_path, light):
    path = write(tmp_path / "t.xlsx")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image1.png", bytes(workbook.MOST_BYTES))
    with pytest.raises(DatasetError, match="t.xlsx: unpacks to more than 64 MiB"):
        read_cells(path)


def test_a_size_that_the_directory_hides_is_damage(tmp_path, light):
    path = write(tmp_path / "t.xlsx")
    change(path, LARGE["texts"])
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(SHEET).file_size
    path.write_bytes(data.replace(size.to_bytes(4, "little"), b"\0\1\0\0"))
    with pytest.raises(DatasetError, match="t.xlsx: expected an xlsx workbook"):
        read_cells(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_kinds_of_packing_are_no_workbooks(tmp_path, method):
    path = write(tmp_path / "t.xlsx")
    change(path, lambda sheet: sheet, method=method)
    with pytest.raises(DatasetError, match="packed as no workbook is"):
        read_cells(path)


@pytest.mark.parametrize("part", [SHEET, "xl/styles.xml", "docProps/core.xml"])
def test_a_part_whose_checksum_is_wrong_is_refused(tmp_path, part):
    path = write(tmp_path / "t.xlsx")
    change(path, lambda data: data, name=part, method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(part)
    at = data.index(b"<", info.header_offset + 200)
    data[at + 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=f"t.xlsx: .*CRC-32.*{part}"):
        read_cells(path)


CSV = {
    "field": ("a,b\n" + "x" * 200_000, "field larger"),
    "rows": ("1,2,3,4,5\n" * 60_000, "more than 50000 rows"),
    "cells": ("1," * 600_000, "more than 500000 cells"),
    "open quote": ('a,b\n"1,2\n3,4\n', "unexpected end"),
    "bytes": ("x" * (workbook.MOST_BYTES + 1), "more than 64 MiB"),
}


@pytest.mark.parametrize("what", CSV)
def test_csv_files_that_are_no_tables(tmp_path, light, what):
    text, match = CSV[what]
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=f"t.csv: .*{match}"):
        read_cells(path)


def test_a_csv_file_of_another_encoding_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("Emotion,\xfcber\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="t.csv: expected a CSV file in UTF-8"):
        read_cells(path)


def test_formulas_without_values_stand_as_they_are(tmp_path):
    path = tmp_path / "t.xlsx"
    formula = ArrayFormula("B2:B3", "=A1:A2*2")
    write(path, ((1, 1, "a"), (2, 1, "=A3"), (2, 2, formula), (4, 4, "=1+1")))
    (found,) = read_cells(path).values()
    assert found == [("a",), ("=A3", "=A1:A2*2"), (), (None, None, None, "=1+1")]
    change(path, lambda sheet: re.sub(rb"<f>A3</f><v ?/?>(</v>)?", VALUE, sheet))
    (found,) = read_cells(path).values()
    assert found[1] == (12, "=A1:A2*2")
    # Tags with a prefix, as some programs write them.
    change(path, lambda sheet: prefixed(sheet.replace(VALUE, b"<f>A3</f>")))
    (found,) = read_cells(path).values()
    assert found[1][0] == "=A3"


VALUE = b"<f>A3</f><v>12</v>"


def prefixed(sheet):
    sheet = re.sub(rb"<(/?)([a-zA-Z])", rb"<\1x:\2", sheet)
    return sheet.replace(b"xmlns=", b"xmlns:x=")


def test_long_cells_are_cut_and_say_so(tmp_path):
    path = write(tmp_path / "t.xlsx", ((1, 1, "x" * 501), (1, 2, "y" * 500)))
    (found,) = read_cells(path).values()
    assert found == [("x" * 60 + "... (501 characters)", "y" * 500)]


def test_a_number_of_4301_digits_is_told_and_no_traceback(tmp_path):
    path = write(tmp_path / "t.xlsx")
    change(path, lambda sheet: sheet.replace(b"<v>7</v>", b"<v>%s</v>" % (b"7" * 4301)))
    with pytest.raises(DatasetError, match="t.xlsx: .*4300 digits"):
        read_cells(path)


def test_a_date_that_is_none_is_a_cell_that_says_so(tmp_path):
    path = write(tmp_path / "t.xlsx", ((1, 1, datetime.date(2020, 1, 2)),))
    change(path, lambda sheet: re.sub(rb"<v>[0-9.]+</v>", b"<v>1e300</v>", sheet))
    (found,) = read_cells(path).values()
    assert found == [("#VALUE!",)]
