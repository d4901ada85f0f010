"""Folders and files appear whole, and what was there is never lost."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from merclip_jax.errors import UserError
from merclip_jax.weights import whole
from merclip_jax.weights.whole import write_whole

ROOT = Path(__file__).parents[2]


def folder(text):
    def write(path):
        path.mkdir()
        (path / "a").write_text(text)

    return write


def names(path):
    return sorted(p.name for p in path.iterdir())


def test_a_folder_replaces_a_full_one(tmp_path):
    for text in ("old", "new"):
        write_whole(tmp_path / "w", folder(text), folder=True, replace=True)
        assert (tmp_path / "w/a").read_text() == text
        assert names(tmp_path) == ["w"]
    with pytest.raises(UserError, match="w: is there already"):
        write_whole(tmp_path / "w", folder("x"), folder=True)


def test_its_permissions_are_those_of_any_folder(tmp_path):
    write_whole(tmp_path / "w", folder("x"), folder=True)
    (tmp_path / "other").mkdir()
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_planted_link_is_not_followed(tmp_path):
    """Whatever name is guessed, nothing is written through it."""
    (tmp_path / "mine").write_text("mine")
    for name in (f".w.{os.getpid()}.tmp", ".w.tmp", ".w.x.tmp"):
        (tmp_path / name).symlink_to(tmp_path / "mine")
    write_whole(tmp_path / "w", lambda p: p.write_text("new"), folder=False)
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "w").read_text() == "new"


@pytest.mark.parametrize("at", ["rename", "replace", "rmtree"])
def test_a_kill_leaves_the_old_or_the_new(at, tmp_path):
    """The process dies at each of the steps that change names."""
    write_whole(tmp_path / "w", folder("old"), folder=True)
    module = "shutil" if at == "rmtree" else "os"
    code = f"""
        import os, signal, shutil
        from pathlib import Path
        from merclip_jax.weights.whole import write_whole

        def write(path):
            path.mkdir()
            (path / "a").write_text("new")

        def dies(*args, **options):
            os.kill(os.getpid(), signal.SIGKILL)

        {module}.{at} = dies
        write_whole(Path({str(tmp_path / "w")!r}), write, folder=True, replace=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    hidden = [path / "a" for path in tmp_path.glob(".w.*.tmp/*")]
    left = [path for path in [tmp_path / "w/a", *hidden] if path.exists()]
    assert "old" in {path.read_text() for path in left} or at == "rmtree"
    # The next writer puts back what lay aside, and clears the rest.
    with pytest.raises(UserError, match="is there already"):
        write_whole(tmp_path / "w", folder("x"), folder=True)
    assert names(tmp_path) == ["w"]
    expected = "new" if at == "rmtree" else "old"
    assert (tmp_path / "w/a").read_text() == expected


def test_a_living_writer_is_left_alone(tmp_path):
    def write(path):
        # Another one of the same name comes and goes while this one writes.
        write_whole(tmp_path / "w", folder("other"), folder=True, replace=True)
        assert path.parent.is_dir()
        folder("mine")(path)

    write_whole(tmp_path / "w", write, folder=True, replace=True)
    assert (tmp_path / "w/a").read_text() == "mine"
    assert names(tmp_path) == ["w"]


def test_a_failed_rename_puts_the_old_one_back(tmp_path, monkeypatch):
    write_whole(tmp_path / "w", folder("old"), folder=True)

    def fails(*_):
        raise OSError("no")

    monkeypatch.setattr(whole.os, "replace", fails)
    with pytest.raises(UserError, match="w: could not be written"):
        write_whole(tmp_path / "w", folder("new"), folder=True, replace=True)
    assert (tmp_path / "w/a").read_text() == "old"
    assert names(tmp_path) == ["w"]
