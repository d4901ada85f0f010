"""What a member is made of."""

import jax
import numpy as np
import pytest

from merclip_jax import build
from merclip_jax.errors import UserError
from merclip_jax.training.parameters import parameter_table
from tests import mini


@pytest.fixture(scope="module")
def clips(mini_data):
    return build.clips(mini.config(mini_data))


def table_of(plan):
    return parameter_table(plan.system, plan.optimiser, plan.columns)


def test_the_table_counts_every_parameter_once(mini_data, clips):
    plan = mini.plan(mini_data, clips)
    rows = table_of(plan)
    parts = [row["part"] for row in rows]
    assert len(set(parts)) == len(parts)
    assert {"encoder/block_*", "encoder/patch_embed", "head/classifier"} <= set(parts)
    batch = {"frames": np.zeros((1, *plan.system.view.shape), np.float32)}
    variables = jax.eval_shape(plan.system.init, jax.random.key(0), batch)
    leaves = jax.tree.leaves(variables["params"])
    assert sum(row["arrays"] for row in rows) == len(leaves)
    assert sum(row["trained"] for row in rows) == sum(leaf.size for leaf in leaves)
    assert not any(row["frozen"] for row in rows)


def test_frozen_parts_are_told(mini_data, clips):
    plan = mini.plan(mini_data, clips, optim__frozen=("encoder/block_.*", "head/.*"))
    for row in table_of(plan):
        still = row["part"].startswith(("encoder/block_", "head/"))
        assert bool(row["frozen"]) == still and bool(row["trained"]) != still, row


def test_a_run_that_trains_nothing_is_refused(mini_data, clips):
    plan = mini.plan(mini_data, clips, optim__frozen=(".*",))
    with pytest.raises(UserError, match="nothing is left to train"):
        table_of(plan)


def test_a_pattern_that_matches_nothing_is_told_by_its_key(mini_data, clips):
    plan = mini.plan(mini_data, clips, optim__frozen=("encoder/blok_.*",))
    with pytest.raises(UserError, match=r"config\.optim\.frozen: .*blok_"):
        table_of(plan)
