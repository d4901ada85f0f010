"""The folder of a final model: trained on everyone, with all that answers need.

model.json        what it answers, what it was trained on, how far to trust it
weights/NAME/     a bundle for each seed; its context holds the table of sentences
calibration.npz   what models that had not seen them said of the same clips
vocab.json merges.txt   where sentences were encoded by a published text tower
README.md         the model card
"""

import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merclip_jax.data.sampling import NOTHING
from merclip_jax.errors import UserError
from merclip_jax.files import expect_regular
from merclip_jax.systems.system import Context, System
from merclip_jax.weights import bundle
from merclip_jax.weights.whole import write_whole

SCHEMA = "merclip_jax.final/1"
FILE, CALIBRATION, WEIGHTS = "model.json", "calibration.npz", "weights"


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of a final model beside its weights.

    title: of the card; classes: emotions that it answers, () for AUs alone; nothing:
    the class of a window without an expression, "" where it was trained on none;
    vocabulary: AU combinations of its sentences; aus: slope and intercept of each AU
    that is calibrated; temperature: that its logits are divided by, None for unknown;
    contract: what the clips came with that it was trained on; dataset, fingerprint,
    clips, subjects: what it was trained on; score: the card's headline, in words;
    card: checksum of the card; lineage: what its training started from; notes: on it.
    """

    title: str
    classes: tuple[str, ...] = ()
    nothing: str = ""
    vocabulary: tuple[str, ...] = ()
    aus: Mapping[int, tuple[float, float]] = dataclasses.field(default_factory=dict)
    temperature: float | None = None
    contract: str = ""
    dataset: str = ""
    fingerprint: str = ""
    clips: int = 0
    subjects: int = 0
    score: str = ""
    card: str = ""
    lineage: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What models said of clips that they never trained on: logits [n, k], target."""

    logits: np.ndarray
    target: np.ndarray


@dataclasses.dataclass(frozen=True)
class FinalModel:
    """A model to use: members are its seeds, whose answers are averaged."""

    path: Path
    about: About
    members: tuple[tuple[System, dict, Context], ...]
    calibration: Calibration | None = None

    @property
    def system(self) -> System:
        """The method; that of all seeds."""
        return self.members[0][0]


def write(
    folder: Path,
    about: About,
    *,
    weights: Mapping[str, Path],
    calibration: Calibration | None,
    files: Mapping[str, bytes],
) -> None:
    """Writes a final model's folder, whole or not at all.

    Args:
        folder: an older one gives way.
        about: all of it.
        weights: name -> a bundle that is copied.
        calibration: None where there are no other clips.
        files: name -> content of what lies beside: model card, vocabulary.

    Raises:
        UserError: it cannot be written; nothing is left.
    """
    arrays = b"" if calibration is None else _encoded(calibration)
    told = {
        "schema": SCHEMA,
        "weights": list(weights),
        "calibration": hashlib.sha256(arrays).hexdigest() if arrays else "",
        **dataclasses.asdict(about),
    }

    def fill(half: Path) -> None:
        for name, source in weights.items():
            shutil.copytree(source, half / WEIGHTS / name)
        if arrays:
            (half / CALIBRATION).write_bytes(arrays)
        for name, content in files.items():
            (half / name).write_bytes(content)
        text = json.dumps(told, indent=2, ensure_ascii=False)
        (half / FILE).write_text(text)

    write_whole(folder, fill, folder=True, replace=True)


def load(path: Path) -> FinalModel:
    """A final model, or the weights of one trained member as far as they go.

    Args:
        path: its folder, that of the run which made it, or a member's weights.

    Raises:
        UserError: there is none, or it is damaged; says what to do.
    """
    for folder in (path, path / "model"):
        if (folder / FILE).exists():
            return _load(folder)
    if (path / bundle.SYSTEM).exists():
        system, variables, context = bundle.load(path)
        about = About(
            title=f"{system.title}, one member of a run",
            classes=_classes(system),
            nothing=NOTHING if NOTHING in _classes(system) else "",
            contract=system.view.contract,
            notes=(
                "Weights of one member alone: nothing is known of how sure its answers "
                "are, and it never saw the subjects that it was tested on.",
            ),
        )
        return FinalModel(path, about, ((system, variables, context),))
    raise UserError(
        f"{path}: no model to use: expected {FILE}, as a run with "
        "--config.protocol.final_fit=True writes it to WORKDIR/model, or the weights "
        "of a member (WORKDIR/weights/NAME)"
    )


def _load(folder: Path) -> FinalModel:
    try:
        told = json.loads(_read(folder / FILE))
        if told.pop("schema") != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}")
        names, checksum = told.pop("weights"), told.pop("calibration")
        aus = {int(au): tuple(line) for au, line in told.pop("aus").items()}
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        about = About(**lists, aus=aus)
        calibration = _decoded(folder / CALIBRATION, checksum) if checksum else None
        if calibration and calibration.logits.shape[1:] != (len(about.classes),):
            raise ValueError(f"{CALIBRATION} is of other classes")
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / FILE}: no description of a final model ({error}); make the "
            "model again by its run's command"
        ) from error
    if not isinstance(names, list) or not names:
        raise UserError(f"{folder / FILE}: names no weights")
    members = tuple(
        bundle.load(folder / WEIGHTS / Path(str(name)).name) for name in names
    )
    if (found := _classes(members[0][0])) != about.classes:
        raise UserError(
            f"{folder}: {FILE} says {list(about.classes)}, the weights {list(found)}"
        )
    return FinalModel(folder, about, members, calibration)


def _classes(system: System) -> tuple[str, ...]:
    """Emotions that a system answers, () for one that answers AUs."""
    return tuple(system.task.names) if system.task.target == "label" else ()


def _read(path: Path) -> bytes:
    expect_regular(path)
    return path.read_bytes()


def _encoded(calibration: Calibration) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dataclasses.asdict(calibration))
    return buffer.getvalue()


def _decoded(path: Path, checksum: str) -> Calibration:
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != checksum:
        raise ValueError(f"{CALIBRATION} is not the one that was written with it")
    with np.load(io.BytesIO(data)) as arrays:
        return Calibration(arrays["logits"], arrays["target"])
