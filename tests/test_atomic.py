"""What a path may be, and what is left of a write that was stopped."""

import os
import subprocess
import sys
import threading

import pytest

from merclip_jax.atomic import sweep, write_atomically
from merclip_jax.printable import printable, spreadsheet_cell


def test_a_device_is_written_to_and_stays_one():
    before = os.stat("/dev/null")
    write_atomically("/dev/null", b"gone")
    assert os.stat("/dev/null").st_rdev == before.st_rdev


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(
        target=lambda: found.append((tmp_path / "pipe").read_bytes())
    )
    reader.start()
    write_atomically(tmp_path / "pipe", b"through")
    reader.join(timeout=20)
    assert found == [b"through"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("to_file", (False, True))
def test_standard_output_is_written_to(tmp_path, to_file):
    """Also where it leads to a file, which what is printed later must still reach."""
    code = (
        "from merclip_jax.atomic import write_atomically as w; import sys;"
        "print('a', flush=True); w('/dev/stdout', b'b\\n'); "
    )
    out = tmp_path / "out"
    if to_file:
        with open(out, "ab") as file:
            subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
        assert out.read_bytes() == b"a\nb\n"
    else:
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True
        )
        assert found.stdout == b"a\nb\n"


def test_a_planted_link_is_not_followed(tmp_path):
    """Names of halves cannot be guessed, and are new."""
    (tmp_path / "victim").write_bytes(b"mine")
    for name in (".card.json.tmp", ".card.json..tmp"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    write_atomically(tmp_path / "card.json", b"{}")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (tmp_path / "card.json").is_symlink()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_permissions_are_kept_or_the_usual(tmp_path):
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "new", b"")
    usual = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "new").stat().st_mode == usual
    (tmp_path / "new").chmod(0o640)
    write_atomically(tmp_path / "new", b"again")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"folder.*nothing was written"):
        write_atomically(tmp_path, b"x")


def test_two_writers_share_no_half(tmp_path):
    """Of two at once, one whole content stays, never a mixture."""
    contents = [bytes([65 + i]) * 200_000 for i in range(4)]
    writers = [
        threading.Thread(target=write_atomically, args=(tmp_path / "f", data))
        for data in contents * 5
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "f").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_halves_of_killed_writers_are_swept(tmp_path):
    (tmp_path / ".card.json.abc.tmp").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "mine.tmp").touch()
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {".hidden", "mine.tmp"}


def test_what_a_terminal_would_obey_is_written_out():
    assert printable("a\x1b[31mb\u202ec\ud800\n\u00e9") == (
        "a\\x1b[31mb\\u202ec\\ud800\n\u00e9"
    )


def test_formulas_become_text():
    assert spreadsheet_cell("=1+1") == "'=1+1"
    assert spreadsheet_cell("sub01/EP02") == "sub01/EP02"
    assert spreadsheet_cell("") == ""
