"""Which set of weights of a file is taken, where there are several."""

from collections.abc import Sequence

from merclip_jax.errors import UserError
from merclip_jax.weights.families.detect import Candidate
from merclip_jax.weights.formats.sets import averaged
from merclip_jax.weights.problems import SHOWN

KINDS = ("raw", "ema")
# What trainers call the weights that they go on from, beside others of their own.
MAIN = ("state_dict", "model_state_dict", "model_state", "model", "module", "student")


def choose(path: str, models: Sequence[Candidate], weights: str) -> Candidate:
    """One of the models that a file holds.

    Without a wish it is what the training itself would go on from: not the average of
    it (EMA) where both are there, and the average where it is alone.

    Args:
        path: of the file, for errors.
        models: all of them, at least one.
        weights: "", raw, ema, or the name of one.

    Returns:
        The model.

    Raises:
        UserError: none or several are meant; lists all.
    """
    if weights in KINDS:
        found = [m for m in models if m.averaged == (weights == "ema")]
    elif weights:
        found = [m for m in models if weights in (m.name, m.prefix.rstrip("."))]
    else:
        # By their names: mmengine keeps the average under the main one.
        found = [m for m in models if not _named_average(m)] or list(models)
    main = [m for of in MAIN for m in found if m.name.split(".")[-1] == of]
    if len(found) == 1:
        return found[0]
    if main and weights in ("", *KINDS):
        return main[0]
    shown = ", ".join(model.shown for model in models[:SHOWN])
    shown += ", ..." if len(models) > SHOWN else ""
    if not found:
        raise UserError(f"{path}: has no weights {weights!r}; it holds {shown}")
    raise UserError(
        f"{path}: holds {len(models)} sets of weights: {shown}; choose one with "
        "--weights=NAME (config.init.weights=NAME)"
    )


def _named_average(model: Candidate) -> bool:
    return any(map(averaged, [*model.table.names, model.prefix]))
