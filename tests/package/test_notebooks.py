"""Every notebook runs in an environment that the first one's install cell makes."""

import json
import os
import re
import subprocess

import jupytext
import pytest

from tests import mini
from tests.fixtures.casme2 import write_casme2
from tests.package.conftest import CONSTRAINTS

FOLDER = mini.ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_say_the_same(name):
    """Type `jupytext --sync notebooks/*.py` after a change."""
    forms = [jupytext.read(FOLDER / f"{name}{suffix}") for suffix in (".py", ".ipynb")]
    cells = [[(cell.cell_type, cell.source) for cell in form.cells] for form in forms]
    assert cells[0] == cells[1]
    assert not any(cell.get("outputs") for cell in forms[1].cells)


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_a_badge_and_one_install_cell_and_says_what_next(name):
    cells = jupytext.read(FOLDER / f"{name}.py").cells
    assert "colab-badge.svg" in cells[0].source
    installs = [c for c in cells if '"pip", "install"' in c.source]
    assert installs == [cells[1]]
    assert "**Next**" in cells[-1].source


def test_they_lead_to_pages_that_there_are():
    for name in NAMES:
        for target in re.findall(
            r"\]\(([^):]+)\)", (FOLDER / f"{name}.py").read_text()
        ):
            assert (FOLDER / target).exists(), (name, target)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, built, fresh, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    page = work / f"{name}.ipynb"
    page.write_bytes((FOLDER / f"{name}.ipynb").read_bytes())
    write_casme2(tmp_path / "CASME2")
    (wheel,) = built.glob("*.whl")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XLA"))}
    env |= {
        "MERCLIP_JAX": str(wheel),
        "MERCLIP_SMALL": "1",
        "MERCLIP_HOME": str(work / "home"),
        "MERCLIP_MANUAL_DIR": str(tmp_path / "CASME2"),
        "PIP_CONSTRAINT": str(CONSTRAINTS),
        "JAX_PLATFORMS": "cpu",
    }
    python = fresh / "bin" / "python"
    run = [python, "-m", "pytest", "--nbmake", "--nbmake-timeout=900", "--overwrite"]
    done = subprocess.run(
        [*run, page], cwd=work, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    # A command that fails in a cell says so and stops nothing.
    said = "".join(
        "".join(output.get("text", ()))
        for cell in json.loads(page.read_text())["cells"]
        for output in cell.get("outputs", ())
    )
    assert "error:" not in said and "Traceback" not in said, said[-3000:]
