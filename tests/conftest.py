"""Test regime: strict dtype promotion, no implicit rank promotion, quick compiles."""

import os
import pathlib

from tests import xla

# Small models spend their time in the compiler: a third of it with its optimiser off
# and its older emitters. Where two programs must give the same bits, `exact_emitters`.
# Processes that the tests start inherit it, so that their bits can be compared.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0 "
    f"{xla.OLDER_EMITTERS}"
)

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from data_builders.build import build

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"


# Files whose tests run trainings, the longest first: begun last, one of them would keep
# a core busy while the others wait.
LONGEST = (
    "systems/test_three.py",
    "training/test_loop.py",
    "test_final.py",
    "test_examples.py",
    "systems/test_protocols.py",
    "test_beside.py",
    "test_choices.py",
    "systems/test_micro_au_clip.py",
    "models/test_options.py",
    "training/test_profile.py",
    "training/test_memory.py",
)


def pytest_collection_modifyitems(items):
    """Files in `LONGEST` go first; all else stays in its order."""
    places = {name: i for i, name in enumerate(LONGEST)}

    def place(item):
        name = item.path.relative_to(pathlib.Path(__file__).parent).as_posix()
        return places.get(name, len(LONGEST))

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter):
    """Prints how the cases of `tests/fuzz` ended, area by area."""
    rows = []
    for report in terminalreporter.getreports(""):
        for name, counts in getattr(report, "user_properties", ()):
            if name == "fuzz" and report.when == "teardown":
                rows.append((report.nodeid.split("::")[-1], *counts))
    if not rows:
        return
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    terminalreporter.section("fuzz")
    for name, cases, refused, succeeded in rows:
        terminalreporter.write_line(
            f"{name}: {cases} cases, {refused} refused, {succeeded} succeeded"
        )


@pytest.fixture
def exact_emitters(monkeypatch):
    """A run's programs are compiled as outside the tests.

    The older emitters compute an array again inside what reads it, with other bits.
    """
    # Imported now, since what is imported before pytest's hooks goes unchecked.
    from merclip_jax.training import compiler
    from tests import mini

    options = compiler.OPTIONS["cpu"] | mini.EMITTERS
    monkeypatch.setitem(compiler.OPTIONS, "cpu", options)


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """Folder of the reference numbers."""
    return GOLDEN


@pytest.fixture(scope="session")
def mini_data(tmp_path_factory) -> pathlib.Path:
    """Data folder in which synthetic/mini is built."""
    folder = tmp_path_factory.mktemp("data")
    build("synthetic/mini", data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Compiled programs on disk: every run below has the same few."""
    folder = tmp_path_factory.mktemp("programs")
    values = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield folder
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
