"""What a final model says of windows, by one compiled program."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, softmax

from merclip_jax.errors import UserError
from merclip_jax.scoring import au_calibration, conformal, emotion_rules
from merclip_jax.systems.system import Batch, Context, Evidence, System, Variables
from merclip_jax.video.events import DIGITS
from merclip_jax.video.windows import SECONDS, Window
from merclip_jax.weights.final import FinalModel

BATCH = 16


@dataclasses.dataclass(frozen=True)
class Said:
    """What is said of windows: probabilities [n, k] of classes and [n, a] of AUs."""

    classes: np.ndarray
    aus: np.ndarray


class Answerer:
    """A final model made ready: its program, its AUs, how its numbers are read.

    classes: emotions, () where none can be said; aus: numbers of its AUs; how: words on
    where classes and AUs come from; calibrated: AUs with a calibration.

    Args:
        model: what answers.
        batch: windows that are in the model at a time.
    """

    def __init__(self, model: FinalModel, *, batch: int = BATCH):
        self.model, self.size = model, batch
        system, _, context = model.members[0]
        self.evidence: Evidence | None = system.evidence(
            model.about.vocabulary, context
        )
        self.aus = self.evidence.aus if self.evidence else ()
        self.calibrated = tuple(au for au in self.aus if au in model.about.aus)
        self.classes = model.about.classes
        self.how = "what the model was trained to say"
        self._rules = None
        if not self.classes and self.aus:
            self._rules = emotion_rules.THREE
            self.classes = self._rules.names
            self.how = "rules on its AUs, on which no emotion label had a part"
        # One program for all seeds; weights are handed to it, for as constants they
        # would lie in it a second time.
        self._program = jax.jit(self._run, static_argnums=0)
        view = system.view
        self.seconds = view.seconds if view.sampling == "window" else SECONDS
        nothing = model.about.nothing
        self.nothing = self.classes.index(nothing) if nothing else None
        self.sets = _sets(model)

    def __call__(self, windows: Sequence[Window]) -> Said:
        """Returns what is said of windows, in their order.

        Args:
            windows: any number.
        """
        parts = [
            self._batch(windows[i : i + self.size])
            for i in range(0, len(windows), self.size)
        ]
        return Said(*(np.concatenate(own) for own in zip(*parts, strict=True)))

    def batch(self, windows: Sequence[Window], *, size: int = 0) -> Batch:
        """Windows as the system is given them, filled up by repetition.

        Args:
            windows: one or more.
            size: of the batch, 0 for as many as there are.
        """
        index = np.resize(np.arange(len(windows)), size or len(windows))
        columns = {"landmarks": np.stack([w.landmarks for w in windows])}
        inputs = self.model.system.inputs
        if lacking := set(inputs) - set(columns):
            raise UserError(f"{self.model.path}: it needs {sorted(lacking)}")
        if "landmarks" in inputs and columns["landmarks"].shape[1] != 68:
            raise UserError(
                f"{self.model.path}: it needs 68 landmarks of a face; leave out "
                "--yunet_model, which finds five"
            )
        frames = np.stack([w.frames for w in windows])[index]
        rows = {name: jnp.asarray(columns[name][index]) for name in inputs}
        return {"frames": jnp.asarray(frames), **rows}

    def _batch(self, windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
        given = self.batch(windows, size=self.size)
        classes, aus = [], []
        for member in self.model.members:
            logits, said = jax.tree.map(np.asarray, self._program(*member, given))
            own = self._probabilities(said[: len(windows)])
            aus.append(own)
            classes.append(self._classes(logits[: len(windows)], own))
        return tuple(np.mean(own, 0).round(DIGITS) for own in (classes, aus))

    def _run(
        self, system: System, variables: Variables, context: Context, batch: Batch
    ) -> tuple[jax.Array, jax.Array]:
        """Logits [b, k] and what is said for AUs [b, a], none being [b, 0]."""
        outputs = system.predict(variables, context, batch)
        none = jnp.zeros((len(batch["frames"]), 0))
        said = self.evidence.of(outputs) if self.evidence else none
        if "scale" in outputs and self.evidence:  # cosines, as training scaled them
            said = jnp.concatenate([said, outputs["scale"][:, None]], 1)
        return outputs["logits"] if self.model.about.classes else none, said

    def _probabilities(self, said: np.ndarray) -> np.ndarray:
        scale = said[:, len(self.aus) :]
        said = said[:, : len(self.aus)]
        found = au_calibration.probabilities(said, self.aus, self.model.about.aus)
        raw = expit(said * (scale if scale.size else 1.0))
        return np.where(np.isnan(found), raw, found)

    def _classes(self, logits: np.ndarray, aus: np.ndarray) -> np.ndarray:
        if self._rules:
            return softmax(self._rules.soft(aus, self.aus), axis=1)
        logits = logits.astype(np.float64)
        return softmax(logits / (self.model.about.temperature or 1.0), axis=1)


def _sets(model: FinalModel) -> conformal.Sets | None:
    """Sets of classes with a promise, where enough is known to make one."""
    known = model.calibration
    if known is None or not conformal.enough(len(known.target)):
        return None
    logits = known.logits / (model.about.temperature or 1.0)
    return conformal.Sets(softmax(logits, axis=1), known.target)
