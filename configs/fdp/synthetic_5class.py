"""FDP on synthetic micro-expressions, 5 classes, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/fdp/synthetic_5class.py --workdir=runs/fdp_synthetic

No paper's number: the ceiling is known instead, and stands on the card.
Expected cost: minutes on two cores (benchmarks/RESULTS.md).
"""

from configs.fdp import base


def get_config(arg: str | None = None):
    """The config; `arg` as in `base.finish`."""
    return base.finish(base.tiny(5), arg)
