"""Synthetic micro-expressions, 7 classes, leave-one-subject-out: the demo's dataset.

    python -m merclip_jax.main --config=configs/synthetic_7class.py --workdir=runs/demo

No paper's number: the ceiling is known instead, and stands on the card.
Expected cost: minutes on two cores (benchmarks/RESULTS.md).
"""

from configs import common, synthetic


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    return common.finish(synthetic.tiny(7), arg)
