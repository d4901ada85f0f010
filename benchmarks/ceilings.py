"""Exact ceilings of the synthetic configs: the table in their README.

python -m benchmarks.ceilings
"""

from data_builders.synthetic.builder import Synthetic
from data_builders.synthetic.ceiling import ceilings


def main() -> None:
    """Print UF1 / UAR / ACC of the ideal observer, ordered and shuffled."""
    for config in Synthetic.BUILDER_CONFIGS:
        for shuffled in (False, True):
            for task, best in ceilings(config.clips, shuffled=shuffled).items():
                kind = "shuffled" if shuffled else "ordered"
                print(
                    f"{config.name:<6}{kind:<10}{task} classes  "
                    f"{best.uf1:.3f} / {best.uar:.3f} / {best.acc:.3f}"
                )


if __name__ == "__main__":
    main()
