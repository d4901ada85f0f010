"""How each of several datasets fared, and what others have published of them."""

import numpy as np

from merclip_jax.data.classes import dataset_of
from merclip_jax.scoring import published
from merclip_jax.scoring.blocks import Block
from merclip_jax.scoring.predictions import Predictions


def by_dataset(predictions: Predictions) -> list[Block]:
    """The task's first scores on each dataset, then published ones of its kind.

    Nothing where all clips are of one dataset.

    Args:
        predictions: of all members.
    """
    subjects = predictions.subject.tolist()
    own = np.asarray([dataset_of(name) for name in subjects])
    names = np.unique(own).tolist()
    # Builders write "dataset/subject"; other names say nothing of a dataset.
    if len(names) < 2 or not all("/" in name for name in subjects):
        return []
    task, rows = predictions.task, []
    for name in names:
        part = predictions.where(own == name)
        scores = task.score(part)[0].rows
        clips, subjects = (np.unique(c).size for c in (part.clip, part.subject))
        row = {"key": f"dataset/{name}", "name": name}
        row |= {score["name"].lower(): score["mean"] for score in scores}
        rows.append(row | {"clips": clips, "subjects": subjects})
    columns = tuple(column for column in rows[0] if column not in ("key", "name"))
    # A fold that is a dataset was left out as a whole.
    left_out = names == np.unique(predictions.fold).tolist()
    note = "Each was answered by models that were trained on the others. "
    table = Block(
        kind="table",
        title="Dataset by dataset",
        rows=tuple(rows),
        columns=columns,
        note=(note if left_out else "")
        + "Scores of all together are no mean of these: counts are pooled first.",
    )
    cd6me = left_out and task.names == published.CD6ME_AUS
    return [table, published.cd6me(names)] if cd6me else [table]
