"""The result card: what was measured, how, and how far the number can be trusted.

The card is a plain dict that is written as JSON. `card_sha256` signs what was measured
and how; the command and what it cost stand outside it, so that two runs of the same
thing in two places carry the same signature. Scores stand in blocks
(`scoring.blocks.Block`), whatever the task.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from merclip_jax.printable import printable
from merclip_jax.results import datasets
from merclip_jax.results.answers import Answers
from merclip_jax.scoring.predictions import Predictions, named

SCHEMA = "merclip_jax.card/3"
# What may differ between two runs of the same thing.
_UNSIGNED = ("card_sha256", "command", "compute")


class CardError(ValueError):
    """A file that is not a whole, untouched result card."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card states beside its scores.

    config: flat dict; ceiling: {name, and scores by key} that no model can pass;
    parameters: rows of `training.parameters.parameter_table`; machines: what trained ->
    names of the members; run: hash of all that the run's numbers depend on; compute:
    what it cost, `training.cost`.
    """

    title: str
    system: str
    task: str
    dataset: str
    dataset_fingerprint: str
    protocol: str
    recipe: str
    selection: str
    input_contract: str
    config: Mapping
    versions: Mapping[str, str]
    command: str = ""
    run: str = ""
    dropped: Sequence[str] = ()
    ceiling: Mapping | None = None
    parameters: Sequence[Mapping] = ()
    machines: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    lineage: Sequence[str] = ()
    compute: Mapping = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


def build_card(answers: Answers, facts: Facts) -> dict:
    """Score a run's answers and state everything the number depends on.

    Args:
        answers: of all members.
        facts: what else the card says.

    Raises ValueError when the ceiling lacks the task's first score, CardError for what
    JSON cannot hold.
    """
    config = _plain(dict(facts.config), "config")
    found = computed(answers)
    # A ceiling of other scores would be divided by.
    first = found["scores"][0]["rows"][0]["key"]
    if facts.ceiling and first not in facts.ceiling:
        raise ValueError(f"ceiling: lacks {[first]}")
    task = {
        "name": facts.task,
        "dataset": facts.dataset,
        "dataset_fingerprint": facts.dataset_fingerprint,
        "dropped": sorted(facts.dropped),
    }
    remarks = found.pop("remarks")
    card = found | {
        "schema": SCHEMA,
        "title": facts.title,
        "system": facts.system,
        "task": task | found["task"],
        "protocol": {"name": facts.protocol} | found["protocol"],
        "recipe": facts.recipe,
        "selection": facts.selection,
        "input_contract": facts.input_contract,
        "config": config,
        "config_sha256": _sha256(config),
        "ceiling": facts.ceiling and dict(facts.ceiling),
        "parameters": list(facts.parameters),
        "machines": dict(facts.machines),
        "lineage": list(facts.lineage),
        "versions": dict(facts.versions),
        "notes": [*facts.notes, *remarks],
        "run_sha256": facts.run,
        "command": facts.command,
        "compute": dict(facts.compute),
    }
    card = _plain(card, "card")
    return card | {"card_sha256": card_sha256(card)}


def computed(answers: Answers) -> dict:
    """What of a card follows from a run's answers alone, as the card holds it.

    Args:
        answers: of all members.

    Returns:
        The card's keys of that kind; of `task` and `protocol` a part; and "remarks",
        which stand among its notes.
    """
    predictions = answers.predictions
    task = predictions.task
    blocks = [*task.score(predictions), *datasets.by_dataset(predictions)]
    blocks += [one.block() for one in answers.readings]
    chance = task.chance(predictions, epochs=answers.epochs)
    return _plain(
        {
            "task": {
                "classes": list(task.names),
                "clips": np.unique(predictions.clip).size,
                "subjects": np.unique(predictions.subject).size,
                "clip_list_sha256": clip_list_sha256(predictions),
            },
            "protocol": {
                "folds": np.unique(predictions.fold).size,
                "seeds": np.unique(predictions.seed),
                "epochs": answers.epochs,
            },
            "scores": [_block(block) for block in blocks],
            "splits": _splits(predictions, answers.test_splits),
            "chance": [_block(block) for block in chance],
            "oracle": means(answers.bound) if answers.bound else None,
            "predictions_sha256": predictions.sha256(),
            "remarks": [remark for block in blocks for remark in block.remarks],
        },
        "card",
    )


def find_row(card: Mapping, key: str, *, part: str = "scores") -> dict:
    """A row of the card by its key.

    Args:
        card: of `build_card` or `read_card`.
        key: such as "uf1"; names may be reworded, keys stay.
        part: "scores" or "chance".

    Raises:
        KeyError: with the keys that there are.
    """
    rows = {row["key"]: row for block in card[part] for row in block["rows"]}
    if key not in rows:
        raise KeyError(f"{part} has {list(rows)}, not {key!r}")
    return rows[key]


def means(predictions: Predictions) -> dict[str, float]:
    """The headline's scores by key, the mean over seeds, without intervals."""
    headline = predictions.task.score(predictions)[0]
    return {row["key"]: row["mean"] for row in headline.rows}


def clip_list_sha256(predictions: Predictions) -> str:
    """Checksum of which clips the task has: lines of clip, subject, target, sorted."""
    # Sets of lines: a clip counts once, however many seeds predicted it.
    targets = named(predictions.task, predictions.target)
    zipped = zip(predictions.clip, predictions.subject, targets, strict=True)
    lines = sorted({f"{clip}\t{subject}\t{name}\n" for clip, subject, name in zipped})
    text = "".join(lines).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()


def card_sha256(card: Mapping) -> str:
    """Signature of a card: everything but the command, the cost and itself."""
    return _sha256({key: card[key] for key in card if key not in _UNSIGNED})


def to_json(card: Mapping) -> bytes:
    """The card as the bytes of its file."""
    text = json.dumps(
        _plain(card, "card"), sort_keys=True, indent=2, ensure_ascii=False
    )
    return (text + "\n").encode()


def read_card(path: str | os.PathLike) -> dict:
    """Read a card; CardError if it is truncated, foreign or was edited."""
    try:
        card = json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path}: not a whole JSON file ({error})") from error
    schema = card.get("schema") if isinstance(card, dict) else None
    if schema != SCHEMA:
        raise CardError(f"{path}: schema is {schema!r}, expected {SCHEMA!r}")
    if wrong := problem(card):
        raise CardError(f"{path}: {wrong}")
    if card_sha256(card) != card["card_sha256"]:
        raise CardError(f"{path}: changed since it was written (card_sha256 differs)")
    return card


def problem(card: object) -> str:
    """What of a card is not as its JSON Schema says, "" for nothing."""
    import jsonschema  # a training never reads a card

    text = resources.files("merclip_jax.results").joinpath("card.schema.json")
    schema = json.loads(text.read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    found = jsonschema.exceptions.best_match(validator.iter_errors(card))
    if found is None:
        return ""
    message = found.message
    if len(message) > 200:  # it quotes the value, which may be all of the card
        message = f"{message[:90]} ... {message[-90:]}"
    return f"{found.json_path.replace('$', 'card', 1)}: {message}"


def _splits(predictions: Predictions, names: Sequence[str]) -> list[dict]:
    """The headline of each of the owners' test splits, where there are several."""
    # One split is the headline already.
    parts = []
    for name in names if len(names) > 1 else ():
        part = predictions.where(predictions.split == name)
        headline = part.task.score(part)[0]
        clips, subjects = (np.unique(c).size for c in (part.clip, part.subject))
        about = {"name": name, "clips": clips, "subjects": subjects}
        parts.append(about | {"scores": _block(headline)})
    return parts


def _block(block) -> dict:
    """A block as the card holds it; its remarks go to the card's notes."""
    return {
        "kind": block.kind,
        "title": block.title,
        "columns": list(block.columns),
        "rows": [dict(row) for row in block.rows],
        "note": block.note,
    }


def _plain(value, where: str):
    """Turn numpy and tuples into what JSON has; `where` names the key in errors.

    Text of a card is shown on terminals: what they would obey is written out.
    """
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise CardError(f"{where}: keys must be str, got {wrong[0]!r}")
        return {key: _plain(value[key], f"{where}.{key}") for key in value}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    # JSON has no NaN: Python would write one that other readers refuse.
    if isinstance(value, float) and not math.isfinite(value):
        raise CardError(f"{where} is {value}: a card holds finite numbers")
    if isinstance(value, str):
        return printable(value)
    if value is not None and not isinstance(value, bool | int | float):
        raise CardError(f"{where}: cannot write {type(value).__name__} to a card")
    return value


def _sha256(value: Mapping) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
