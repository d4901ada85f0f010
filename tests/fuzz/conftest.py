"""Gives each fuzz test its tally, and prints all tallies at the end."""

import pytest

from tests.fuzz.tally import Tally


@pytest.fixture
def tally(record_property):
    """Counts the cases of one test."""
    counts = Tally()
    yield counts
    # A report's properties come back from pytest-xdist's workers; prints do not.
    record_property("fuzz", (counts.cases, counts.refused, counts.succeeded))
