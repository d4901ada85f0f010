"""What is published, and one environment that it is installed into."""

import os
import subprocess
import sys

import pytest

from tests import mini

CONSTRAINTS = mini.ROOT / "constraints-{}.{}.txt".format(*sys.version_info)
if not CONSTRAINTS.exists():
    CONSTRAINTS = mini.ROOT / "constraints.txt"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Folder with the wheel and the source distribution."""
    out = tmp_path_factory.mktemp("dist")
    # From a copy: a build folder that lies about would end up in the wheel.
    copy = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=mini.ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (mini.ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((mini.ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "-o", out, copy], check=True)
    return out


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """An environment with what runs a notebook, and no more."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "pip", "install", "--quiet", "-c", CONSTRAINTS]
    subprocess.run([*pip, "nbmake", "ipykernel"], check=True)
    return venv


@pytest.fixture(scope="session")
def installed(built, fresh, tmp_path_factory):
    """Runs a command of that environment, the wheel installed, in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    (wheel,) = built.glob("*.whl")
    pip = [fresh / "bin" / "pip", "install", "--quiet", "-c", CONSTRAINTS, wheel]
    subprocess.run(pip, check=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    env |= {"JAX_PLATFORMS": "cpu", "PATH": f"{fresh / 'bin'}:{os.environ['PATH']}"}

    def run(*command, status=0):
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = folder
    return run
