"""How each dataset fared that was left out, and what others have published of it."""

import numpy as np

from merclip_jax.scoring import published
from merclip_jax.scoring.blocks import Block
from merclip_jax.scoring.predictions import Predictions


def left_out(predictions: Predictions) -> list[Block]:
    """The task's first scores on each dataset alone, then published ones of its kind.

    Args:
        predictions: of a run that left out one dataset at a time: a fold is a dataset.
    """
    task, rows = predictions.task, []
    names = np.unique(predictions.fold).tolist()
    for name in names:
        part = predictions.where(predictions.fold == name)
        scores = task.score(part)[0].rows
        clips, subjects = (np.unique(c).size for c in (part.clip, part.subject))
        row = {"key": f"left_out/{name}", "name": name}
        row |= {score["name"].lower(): score["mean"] for score in scores}
        rows.append(row | {"clips": clips, "subjects": subjects})
    columns = tuple(column for column in rows[0] if column not in ("key", "name"))
    own = Block(
        kind="table",
        title="Dataset by dataset",
        rows=tuple(rows),
        columns=columns,
        note="Each was answered by models that were trained on the others. Scores of "
        "all together are no mean of these: counts are pooled first.",
    )
    same = task.names == published.CD6ME_AUS
    return [own, published.cd6me(names)] if same else [own]
