"""Where the doctor's report goes, what --quick leaves out, what a terminal is shown."""

import json
import os
import shutil
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

from data_builders import build, doctor
from data_builders.readers.findings import KINDS, Finding, words
from data_builders.records.encode import inspect
from data_builders.terminal import say
from tests.data_builders.test_build import ROOT
from tests.fixtures.casme2 import edit_table, write_casme2
from tests.fixtures.casme3 import write_casme3
from tests.fixtures.smic import write_smic

TABLE = "CASME2-coding-20190701.xlsx"


@pytest.fixture
def manual(tmp_path):
    write_casme2(tmp_path / "manual", subjects=1, clips_per_subject=3)
    return tmp_path / "manual"


def run(manual, *more):
    return doctor.main(["--dataset=casme2/cropped", f"--manual_dir={manual}", *more])


def command(manual, *more, module="doctor", **streams):
    flags = ["--dataset=casme2", f"--manual_dir={manual}", *more]
    return subprocess.run(
        [sys.executable, "-m", f"data_builders.{module}", *flags],
        cwd=ROOT,
        timeout=120,
        **streams,
    )


@pytest.mark.parametrize("place", ["", "gone/report.json", "table/x.json"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    manual, tmp_path, capsys, monkeypatch, place
):
    (tmp_path / "table").write_bytes(b"a file where a folder is expected")
    monkeypatch.setattr(doctor, "_examined", lambda flags: 1 / 0)
    with pytest.raises(SystemExit) as stop:
        run(manual, f"--json={tmp_path / place}")
    assert stop.value.code == 2
    assert f"--json={tmp_path / place}: " in capsys.readouterr().err


def test_a_place_in_proc_is_told_before_the_work(manual, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_examined", lambda flags: 1 / 0)
    with pytest.raises(SystemExit):
        run(manual, "--json=/proc/report.json")
    assert "--json=/proc/report.json: nothing can be written" in capsys.readouterr().err


def test_json_on_the_standard_output_stands_there_alone(manual, tmp_path):
    done = command(
        manual, "--json=/dev/stdout", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["sound"] and b"verdict" in done.stderr
    # The same where the output is a file.
    with open(tmp_path / "out", "wb") as out:
        command(manual, "--json=/dev/stdout", stdout=out, stderr=subprocess.PIPE)
    assert json.loads((tmp_path / "out").read_bytes())["sound"]


def test_json_of_a_dataset_that_is_not_there_is_json_as_well(tmp_path):
    done = command(
        tmp_path, "--json=/dev/stdout", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    found = json.loads(done.stdout)
    assert done.returncode == 1 and not found["sound"]
    assert "expected the coding table" in found["error"]
    assert b"error: " in done.stderr and b"Traceback" not in done.stderr


def test_a_pipe_and_a_device_are_written_to(manual, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(
        target=lambda: read.append((tmp_path / "pipe").read_text())
    )
    reader.start()
    assert run(manual, f"--json={tmp_path / 'pipe'}") == 0
    reader.join(timeout=20)
    assert json.loads(read[0])["sound"] and (tmp_path / "pipe").is_fifo()
    assert run(manual, "--json=/dev/null") == 0
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def test_a_reader_that_has_seen_enough_is_no_error(manual):
    flags = f"--dataset=casme2 --manual_dir={manual}"
    done = subprocess.run(
        f"{sys.executable} -m data_builders.doctor {flags}; echo $? >&2",
        shell=True,
        cwd=ROOT,
        stdout=closed_pipe(),
        stderr=subprocess.PIPE,
        timeout=120,
    )
    assert done.stderr.split()[-1] == b"0" and b"Error" not in done.stderr


def closed_pipe():
    """The end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("module", ["doctor", "build"])
def test_help_needs_no_other_flag(module):
    done = subprocess.run(
        [sys.executable, "-m", f"data_builders.{module}", "--help"],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0 and b"--dataset" in done.stdout


def test_quick_opens_no_picture(manual, capsys, monkeypatch, tmp_path):
    for path in (manual / "Cropped").rglob("*.jpg"):
        path.write_bytes(b"no picture")
    monkeypatch.setattr(doctor, "inspect", lambda *_: 1 / 0)
    assert run(manual, "--quick", f"--json={tmp_path / 'r.json'}") == 0
    shown = capsys.readouterr().out
    assert "rows         3\nclips        3\n" in shown
    assert "fingerprint  none" in shown and "faces        not looked for" in shown
    assert "of tables and folders; without --quick, pictures are read too" in shown
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["quick"] and found["fingerprint"] == "" and found["sound"]
    monkeypatch.setattr(doctor, "inspect", inspect)
    assert run(manual, f"--json={tmp_path / 'r.json'}") == 1
    assert not json.loads((tmp_path / "r.json").read_text())["quick"]


def test_quick_finds_what_is_in_tables_and_folders(manual, capsys):
    edit_table(manual / TABLE, 2, "ApexFrame", "15 (?)")
    assert run(manual, "--quick") == 1
    shown = capsys.readouterr().out
    assert "expected a whole number, or nothing, found '15 (?)'" in shown
    hint = "build with --skip_bad leaves out what is wrong and builds 2 clips"
    assert f"NOT sound: see above what stops a build; {hint}" in shown


ADJECTIVES = ("AU", "unreadable", "missing")
HOSTILE = "EP\x1b[31m\u202e\x9b"


def test_names_do_not_move_the_cursor(manual, capsys, tmp_path):
    edit_table(manual / TABLE, 2, "Filename", "EP\u202e\x7fgpj.exe")
    flags = ["--dataset=casme2", f"--manual_dir={manual}"]
    assert doctor.main(flags) == 1
    assert build.main([*flags, f"--data_dir={tmp_path / 'data'}"]) == 1
    said = capsys.readouterr()
    for shown in (said.out, said.err):
        assert "EP\\u202e\\x7fgpj.exe" in shown
        assert not {"\u202e", "\x7f"} & set(shown)


def test_folders_do_not_move_the_cursor(manual, capsys, tmp_path):
    named = manual.with_name(f"a{HOSTILE}\udcff")
    manual.rename(named)
    flags = ["--dataset=casme2", f"--manual_dir={named}"]
    (named / "Cropped" / "sub01" / f"{HOSTILE}\n1 problem").mkdir()
    assert doctor.main(flags) == 0
    assert build.main([*flags, f"--data_dir={tmp_path / 'data'}"]) == 0
    shutil.rmtree(named / "Cropped")
    assert doctor.main(flags) == 1
    assert build.main([*flags, f"--data_dir={tmp_path / 'new'}"]) == 1
    said = capsys.readouterr()
    assert "EP\\x1b[31m\\u202e\\x9b\\n1 problem" in said.out
    for shown in (said.out, said.err):
        assert not {"\x1b", "\u202e", "\x9b"} & set(shown)
        assert "a" + r"EP\x1b[31m\u202e\x9b\udcff" in shown


def test_a_terminal_of_ascii_gets_escapes(monkeypatch, tmp_path):
    with open(tmp_path / "out", "w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        say("clip \u4e2d\u6587")
    assert (tmp_path / "out").read_text() == "clip \\u4e2d\\u6587\n"


def test_one_is_one_and_reasons_are_told_once(manual, capsys):
    first, second, third = sorted((manual / "Cropped" / "sub01").glob("EP*"))
    shutil.rmtree(first)
    cv2.imwrite(str(next(second.glob("*.jpg"))), np.zeros((9, 9, 3), np.uint8))
    assert run(manual) == 1
    shown = capsys.readouterr().out
    assert "1 clip without a folder" in shown
    assert "1 clip with frames of different sizes" in shown
    assert "1 clips" not in shown and "1 rows" not in shown
    # Once below the tasks, of which there are several.
    reason = ": clip without a folder\n"
    assert shown.count(f"  sub01/{first.name} (") == shown.count(reason) == 1


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_said_of_one_and_of_many(kind, number):
    said = words(kind, number)
    assert "{" not in said
    noun = next(word for word in said.split() if word not in ADJECTIVES)
    assert noun.endswith("s") == (number != 1)


def test_what_most_clips_share_is_one_line(tmp_path, capsys):
    write_smic(tmp_path / "smic")
    assert doctor.main(["--dataset=smic", f"--manual_dir={tmp_path / 'smic'}"]) == 0
    shown = capsys.readouterr().out
    assert "    10 of 10 clips without an apex\n" in shown
    assert "midpoint is taken" not in shown
    assert "1 split without any action unit" in shown
    flags = ["--dataset=smic", f"--manual_dir={tmp_path / 'smic'}", "--all"]
    assert doctor.main(flags) == 0
    assert capsys.readouterr().out.count("midpoint is taken") == 10
    write_casme3(tmp_path / "casme3", subjects=1)
    flags = [f"--manual_dir={tmp_path / 'casme3'}", "--faces=none"]
    doctor.main(["--dataset=casme3", *flags])
    (line,) = [n for n in capsys.readouterr().out.splitlines() if "longer than" in n]
    assert "of 14 clips longer than 0.5 s (median of all 0.83 s, " in line
    assert "longest 8.23 s)" in line


def test_a_finding_is_one_line_whatever_its_cell_holds():
    assert "\n" not in str(Finding("table", "t, row 1\n2", "found 'a\rb\n'"))
