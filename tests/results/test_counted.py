"""Numbers of things in sentences."""

import pytest

from merclip_jax.results.counted import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 clips"), (1, "1 clip"), (12, "12 clips")]
)
def test_one_is_no_plural(number, said):
    assert counted(number, "clip") == said
