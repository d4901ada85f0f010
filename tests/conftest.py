"""Test regime: strict dtype promotion, no implicit rank promotion."""

import pathlib

import jax
import pytest

from data_builders.build import build

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"


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
