"""Test regime: strict dtype promotion, no implicit rank promotion."""

import pathlib

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """Folder of the reference numbers."""
    return GOLDEN
