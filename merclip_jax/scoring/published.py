"""Numbers of others that a score stands beside."""

from collections.abc import Sequence

from merclip_jax.scoring.blocks import Block

# The AUs that are scored over six datasets, each left out once.
CD6ME_AUS = tuple(f"AU{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17))
CD6ME_SETS = ("casme", "casme2", "samm", "mmew", "fourdme", "casme3")
# Mean F1 of the 12 AUs, in percent, as published.
CD6ME = (
    ("always", "always positive", 17.8),
    ("lbp_top", "LBP-TOP", 12.1),
    ("sca", "SCA", 23.6),
    ("led", "LED", 28.3),
    ("r2plus1d", "R(2+1)D on RGB", 29.5),
    ("flow_svm", "flow + SVM", 36.2),
    ("sssnet", "SSSNet", 40.5),
    ("ac4au", "AC4AU", 40.5),
)


def cd6me(datasets: Sequence[str]) -> Block:
    """The published scores of leaving out one of six datasets.

    Args:
        datasets: those of the run, whose difference from the six is told.
    """
    said = [
        f"without {', '.join(sorted(set(CD6ME_SETS) - set(datasets)))}",
        f"with {', '.join(sorted(set(datasets) - set(CD6ME_SETS)))}",
    ]
    differs = [text for text in said if not text.endswith(" ")]
    note = (
        "Binary F1 of each AU from the pooled answers of all folds, mean of 12, last "
        "epoch: Varanka et al., Data Leakage and Evaluation Issues in Micro-Expression "
        "Analysis, and the benchmark's own table."
    )
    remark = f"CD6ME: this run is {' and '.join(differs)}: not the published clips."
    return Block(
        kind="table",
        title="Published on six datasets, each left out once (CD6ME)",
        rows=tuple(
            {"key": f"cd6me/{key}", "name": name, "f1": percent / 100}
            for key, name, percent in CD6ME
        ),
        columns=("f1",),
        note=note,
        remarks=(remark,) if differs else (),
    )
