"""Checkpoints come back as they were saved, or are refused by name."""

import gc
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.training.checkpoint import GroupCheckpoint
from tests.training.test_workdir import contents

# What fails leaves coroutines of orbax's behind, which find its event loop closed.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def leftovers():
    """Lets them say so here, not in the next test."""
    yield
    time.sleep(0.2)
    gc.collect()


TREE = {"a": np.arange(4.0), "b": {"c": np.ones((2, 3), np.float32)}}
FACTS = {"run": "x", "members": ["s-seed0"]}


def test_the_newest_checkpoint_comes_back(tmp_path):
    checkpoint = GroupCheckpoint(tmp_path / "round")
    assert checkpoint.restore(TREE) is None
    for step in (1, 2):
        checkpoint.save(step, TREE | {"a": np.full(4, step, float)}, FACTS)
    checkpoint.close()
    again = GroupCheckpoint(tmp_path / "round")
    step, tree = again.restore(TREE)
    assert step == 2
    np.testing.assert_array_equal(tree["a"], np.full(4, 2.0))
    again.close()


def test_facts_lie_beside_a_checkpoint(tmp_path):
    checkpoint = GroupCheckpoint(tmp_path / "round")
    assert checkpoint.facts() is None
    checkpoint.save(1, TREE, FACTS)
    assert checkpoint.facts() == FACTS
    checkpoint.close()


def test_no_flipped_bit_of_a_checkpoint_is_restored(tmp_path):
    """Every file, a bit in a hundred: refused, or of no consequence."""
    folder, rng = tmp_path / "round", np.random.default_rng(0)
    tree = {
        "state": jnp.asarray(rng.normal(size=(20, 30)), jnp.float32),
        "half": jnp.asarray(rng.normal(size=40), jnp.bfloat16),
        "count": jnp.asarray(7, jnp.int32),
        "host": rng.normal(size=(5, 6)),
    }
    checkpoint = GroupCheckpoint(folder)
    checkpoint.save(3, tree, FACTS)
    checkpoint.close()
    refusals = tries = 0
    for path in sorted(p for p in (folder / "3").rglob("*") if p.is_file()):
        data = path.read_bytes()
        for at in rng.integers(len(data), size=min(len(data), 6)) if data else ():
            flipped = bytearray(data)
            flipped[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            tries += 1
            again = GroupCheckpoint(folder)
            try:
                facts, (_, found) = again.facts(), again.restore(tree)
            except UserError as error:
                assert str(folder) in str(error)
                refusals += 1
            else:
                assert facts == FACTS
                jax.tree.map(np.testing.assert_array_equal, found, tree)
            again.close()
        path.write_bytes(data)
    assert refusals > 10 and tries > 40, (refusals, tries)


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path):
    folder = tmp_path / "round"
    checkpoint = GroupCheckpoint(folder)
    checkpoint.save(3, TREE, FACTS)
    checkpoint.close()
    for path in (folder / "3").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    before = contents(folder)
    again = GroupCheckpoint(folder)
    with pytest.raises(
        UserError, match="checkpoint of step 3 cannot be read"
    ) as caught:
        again.restore(TREE)
    again.close()
    assert str(folder) in str(caught.value)
    assert contents(folder) == before


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path):
    checkpoint = GroupCheckpoint(tmp_path / "round")
    checkpoint.save(3, TREE | {"a": jnp.arange(4.0)}, FACTS)
    with pytest.raises(UserError, match="step 3 cannot be read"):
        checkpoint.restore(TREE | {"a": jnp.arange(5.0)})
    checkpoint.close()


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path):
    checkpoint = GroupCheckpoint(tmp_path / "round")
    checkpoint.save(1, TREE, FACTS)
    shutil.rmtree(tmp_path / "round")
    (tmp_path / "round").write_text("in the way")
    with pytest.raises(UserError, match="checkpoint of step 2 could not be written"):
        checkpoint.save(2, TREE, FACTS)
    checkpoint.close()
