"""What a run's members answered, in a file that its card can be made from again.

predictions.npz   rows of clip, subject, fold, split, seed, target, outputs; those
                  of the epoch that suits the test subjects, where a run keeps
                  them; the emotions that AUs were read as; the task
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.results.emotions import NAMES, ReadOff
from merclip_jax.scoring.predictions import Predictions
from merclip_jax.scoring.tasks import AUTask, EmotionTask
from merclip_jax.systems import describe

FILE = "predictions.npz"
SCHEMA = "merclip_jax.predictions/1"
TASKS = {kind.__name__: kind for kind in (EmotionTask, AUTask)}
_COLUMNS = ("clip", "subject", "fold", "split", "seed", "target")
_OUTPUTS, _BOUND, _READ, _ABOUT = "outputs/", "bound/", "read/", "about"


class AnswersError(ValueError):
    """A file that is no whole file of predictions."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """All that a card's numbers are made of.

    predictions: those that are scored; bound: those of the epoch that suits the test
    subjects, an upper bound and never the headline; readings: emotions read off AUs;
    epochs: how many a best-on-test selection could have chosen from; test_splits: the
    owners' splits that were tested on.
    """

    predictions: Predictions
    bound: Predictions | None = None
    readings: tuple[ReadOff, ...] = ()
    epochs: int = 1
    test_splits: tuple[str, ...] = ()


def encode(answers: Answers) -> bytes:
    """The bytes of a run's file of predictions: the same for the same answers.

    Args:
        answers: of the run.
    """
    predictions, task = answers.predictions, answers.predictions.task
    arrays = {name: getattr(predictions, name) for name in _COLUMNS}
    arrays |= _prefixed(_OUTPUTS, predictions.outputs)
    if answers.bound:
        arrays |= _prefixed(_BOUND, answers.bound.outputs)
    for one in answers.readings:
        columns = {"label": one.label, "subject": one.subject, "seed": one.seed}
        columns |= _prefixed("answer/", one.answers)
        arrays |= _prefixed(f"{_READ}{one.task}/", columns)
    about = {
        "schema": SCHEMA,
        "task": {"kind": type(task).__name__, **describe.to_json(task)},
        "epochs": answers.epochs,
        "test_splits": answers.test_splits,
        "readings": [
            {"task": one.task, "classes": one.classes, "note": one.note}
            for one in answers.readings
        ],
    }
    arrays[_ABOUT] = np.asarray(json.dumps(about))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read(path: Path, *, tasks: Mapping[str, type] = TASKS) -> Answers:
    """A run's file of predictions.

    Args:
        path: of it.
        tasks: name -> class of those that it may be of.

    Raises:
        AnswersError: it is damaged, of another schema, or of an unknown task.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        about = json.loads(str(arrays.pop(_ABOUT)[()]))
        if about["schema"] != SCHEMA:
            raise ValueError(f"schema {about['schema']!r}, expected {SCHEMA!r}")
        kind = about["task"].pop("kind")
        if kind not in tasks:
            raise ValueError(f"task {kind!r}, expected one of {list(tasks)}")
        return _answers(describe.from_json(tasks[kind], about["task"]), arrays, about)
    except FileNotFoundError as error:
        raise AnswersError(f"{path}: is not there") from error
    except Exception as error:  # zip, zlib, NumPy and JSON raise about ten kinds
        raise AnswersError(f"{path}: no whole file of predictions ({error})") from error


def _answers(task, arrays: dict[str, np.ndarray], about: Mapping) -> Answers:
    outputs, bound = (_taken(arrays, prefix) for prefix in (_OUTPUTS, _BOUND))
    readings = []
    for told in about["readings"]:
        own = _taken(arrays, f"{_READ}{told['task']}/")
        said = _taken(own, "answer/")
        # In the order that the card has them in.
        answers = {form: said[form] for form in NAMES if form in said}
        readings.append(ReadOff(answers=answers, **told, **own))
    predictions = Predictions(task=task, outputs=outputs, **arrays)
    return Answers(
        predictions,
        bound=dataclasses.replace(predictions, outputs=bound) if bound else None,
        readings=tuple(readings),
        epochs=about["epochs"],
        test_splits=tuple(about["test_splits"]),
    )


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": np.asarray(array) for name, array in arrays.items()}


def _taken(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
