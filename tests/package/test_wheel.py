"""What is published, installed in an environment of its own and used elsewhere."""

import json
import re
import subprocess
import tarfile
import tomllib
import zipfile

import pytest

import merclip_jax
from tests import mini
from tests.package.conftest import CONSTRAINTS

PACKAGES = ("configs", "data_builders", "merclip_jax")


def test_the_wheel_holds_all_of_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    ours = {
        path.relative_to(mini.ROOT).as_posix()
        for package in PACKAGES
        for path in (mini.ROOT / package).rglob("*")
        if path.suffix in (".py", ".j2", ".js", ".json", ".csv", ".typed")
    }
    assert held == ours
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert ours | {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_version_stands_in_one_place(built):
    version = merclip_jax.__version__
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith(f"merclip_jax-{version}-py3-none-any")
    cited = (mini.ROOT / "CITATION.cff").read_text()
    assert re.search(r"(?m)^version: (.*)$", cited)[1] == version


def test_every_extra_is_to_be_had_within_the_constraints(built, fresh):
    """But those that bring gigabytes, or what an accelerator needs."""
    project = tomllib.loads((mini.ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"cuda13", "tpu", "test-convert"}
    (wheel,) = built.glob("*.whl")
    pip = [fresh / "bin" / "pip", "install", "--dry-run", "--quiet", "--report=-"]
    done = subprocess.run(
        [*pip, "-c", CONSTRAINTS, f"{wheel}[{','.join(sorted(extras))}]"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pinned = plain(re.findall(r"(?m)^(.+)==", CONSTRAINTS.read_text()))
    found = plain(i["metadata"]["name"] for i in json.loads(done.stdout)["install"])
    # The wheel may be installed there by now; gradio is not.
    assert "gradio" in found and found - pinned <= {"merclip-jax"}


def plain(names):
    """As packages are compared (PyPA, "Names and normalization")."""
    return {re.sub("[-_.]+", "-", name).lower() for name in names}


def test_the_demo_runs_from_the_wheel(installed):
    installed("merclip-build", f"--dataset={mini.DATASET}")
    said = installed(
        "merclip",
        "--config=synthetic_3class",
        "--workdir=run",
        f"--config.data.dataset={mini.DATASET}",
        "--config.train.epochs=1",
        "--config.train.batch_size=8",
    )
    assert "report: run/report.html" in said
    card = json.loads((installed.folder / "run" / "card.json").read_text())
    assert card["task"]["clips"] == 24
    assert card["versions"]["merclip_jax"] == merclip_jax.__version__
    again = installed(
        *("python", "-m", "merclip_jax.main", "--workdir=run"),
        "--config=configs/synthetic_3class.py",
        f"--config.data.dataset={mini.DATASET}",
        "--config.train.epochs=1",
        "--config.train.batch_size=8",
    )
    assert "report: run/report.html" in again


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("merclip", "recipe=paper|released"),
        ("merclip-build", "--manual_dir"),
        ("merclip-doctor", "--quick"),
        ("merclip-convert", "--src=FILE --dst=DIR"),
        ("merclip-compare", "--configs"),
        ("merclip-card", "show,verify,publish"),
        ("merclip-explain", "--clip"),
        ("merclip-report", "--out"),
        ("merclip-predict", "--demo"),
        ("merclip-web", "--host"),
        ("merclip-export", "--onnx"),
    ],
)
def test_every_command_has_help(installed, command, told):
    said = installed(command, "--help")
    assert told in said and "Traceback" not in said


def test_commands_say_what_is_wrong(installed):
    said = installed("merclip", "--config=synthetic_4class", "--workdir=w", status=1)
    assert "did you mean synthetic_" in said
    missing = ("--dataset=casme2", "--manual_dir=nowhere")
    assert "nowhere" in installed("merclip-doctor", *missing, status=1)
