"""The interface behind which a method hides: the only thing training knows of it.

A method differs from another in what it sees of a clip, what it is asked, its loss and
what it answers. All else (folds, members, stacks, resume, card, report) is shared.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import flax
import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.data.clips import Clips
from merclip_jax.data.view import View
from merclip_jax.scoring.blocks import Task
from merclip_jax.scoring.emotion_rules import Reading
from merclip_jax.typing import Array

# "frames" [b, t, h, w, c] in 0..255 and what `columns` names, each [b, ...].
Batch = dict[str, Array]
# What a model answers of a batch, each [b, ...]; its task reads some of them.
Outputs = dict[str, Array]
# Flax's collections: "params" and whatever else the model keeps, such as BN statistics.
Variables = dict[str, Any]


class Context(flax.struct.PyTreeNode):
    """What a step reads beside its batch and may not change.

    Dicts of arrays, so that a folder of weights can hold them. run: the same for all
    members; fold: made of one member's training clips alone. In a stack only `fold`
    has a leading axis m.
    """

    run: Any = flax.struct.field(default_factory=dict)
    fold: Any = flax.struct.field(default_factory=dict)


# What of a forward pass is kept for the backward pass, the rest being computed again:
# all of it; of each block of the model its products with weights; its input alone.
REMATS = ("none", "products", "blocks")


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a step is computed, not what: what it trades time for room by.

    remat: one of REMATS; microbatch: clips that are in the model at a time, 0 for the
    whole batch.
    """

    remat: str = "none"
    microbatch: int = 0


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A number that every step reports, declared once.

    name: such as "loss/contrastive"; panel: title of the drawing it goes into; format:
    how the log writes it, "" to leave it out there.
    """

    name: str
    panel: str
    format: str = ".3f"


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """What to show beside a clip in the report.

    rows: a list of (value, text, whether annotated); pictures: (caption, uint8 [h, w, 1
    or 3]).
    """

    title: str
    rows: tuple[tuple[float | None, str, bool], ...] = ()
    pictures: tuple[tuple[str, np.ndarray], ...] = ()


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a system's outputs say for each AU, as numbers that have a gradient.

    aus: their numbers; of: outputs -> [b, a]; note: what these are, in words.
    """

    aus: tuple[int, ...]
    of: Callable[[Outputs], Array]
    note: str


def first(kept: tuple | jax.Array) -> jax.Array:
    """An intermediate that a module kept (flax keeps tuples), or a gradient of one."""
    return kept[0] if isinstance(kept, tuple) else kept


@runtime_checkable
class System(Protocol):
    """A method: a model with its input, target, loss and answers.

    A frozen dataclass of a module and numbers: hashable, so that it is static under
    jit. `inputs` names the columns that `predict` may see beside the frames; it is
    never handed a target. `scalars` are what `loss` reports, in the log's order; one is
    "loss", and training stops where that is not finite. `execution` is no part of what
    the method is: weights trained under one are at home under any other. A microbatch
    must be a multiple of `together` clips; 0: the batch cannot be divided.
    `transductive`: clips are answered under constants made of themselves, as some
    published code does, in place of those of the training clips. `place`: path of the
    layer among what `inspect` keeps that `places` reads: all that an answer is made of
    passes it. `data_fields`: paths of fields that act on columns and on the run's
    constants alone; `array_fields`: of numbers that `loss` takes as arrays too. Runs
    that differ in these alone can train in one stack (`variants`). What has a value or
    a body here is what a class that inherits from it need not say.
    """

    name: str
    title: str
    view: View
    task: Task
    inputs: tuple[str, ...] = ()
    scalars: tuple[Scalar, ...]
    execution: Execution = Execution()
    together: int = 0
    transductive: bool = False
    place: tuple[str, ...] = ()
    data_fields: tuple[str, ...] = ()
    array_fields: tuple[str, ...] = ()

    def columns(self, clips: Clips) -> dict[str, np.ndarray]:
        """Targets and side inputs of all clips, each [n, ...]; one is the task's."""

    def run_context(self, clips: Clips) -> dict[str, Any]:
        """Constants of the run."""
        return {}

    def fold_context(
        self, train_clips: Clips, columns: dict[str, np.ndarray]
    ) -> dict[str, Any]:
        """Constants of a fold, alike in shape, made of its training clips alone.

        Neither `train_clips` nor `columns`, which are theirs, holds any other clip.
        """
        return {}

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """A member's variables at step 0."""

    def loss(
        self,
        variables: Variables,
        context: Context,
        batch: Batch,
        *,
        key: jax.Array,
        epoch: Array,
    ) -> tuple[Array, tuple[Variables, dict[str, Array]]]:
        """Returns the loss, the collections that changed, the values of `scalars`."""

    def predict(self, variables: Variables, context: Context, batch: Batch) -> Outputs:
        """What the model says of frames and `inputs`."""

    def augmented(self, batch: Batch, *, key: jax.Array) -> Array:
        """The frames as `loss` trains on them with this key, in 0..255, to look at."""
        return batch["frames"]

    def remarks(self, clips: Clips, columns: dict[str, np.ndarray]) -> list[str]:
        """What a reader of the card should know of these clips under this method."""
        return []

    def exhibits(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        index: int,
        outputs: dict,
    ) -> tuple[Exhibit, ...]:
        """What to show beside clip `index`, of its `outputs` without the batch axis."""
        return ()

    def inspect(
        self, variables: Variables, context: Context, batch: Batch
    ) -> tuple[Outputs, dict[str, Any]]:
        """What `predict` says, and what the model's modules kept on the way.

        With a collection "perturbations" among the variables, of the paths and shapes
        of what was kept, these are added to it (`layers.watched`).
        """
        return self.predict(variables, context, batch), {}

    def places(self, kept: dict[str, Any]) -> Array | None:
        """Of what `inspect` kept at `place` what lies on the frames, [b, t, y, x, c].

        t frames, or as many moments as the model has. None: nothing lies there.
        """
        return None

    def still(self, batch: Batch) -> Batch:
        """The same clips without motion, which answers are held against."""
        frames = batch["frames"]
        return {**batch, "frames": jnp.broadcast_to(frames[:, :1], frames.shape)}

    def looks(self, kept: dict[str, Any]) -> Array | None:
        """Where the model looked, by its own attention, [b, t, y, x]; None: nowhere."""
        return None

    def features(self, kept: dict[str, Any]) -> dict[str, Array]:
        """Features of clips, by their names, each [b, d]."""
        return {}

    def vocabulary(self, clips: Clips) -> tuple[str, ...]:
        """AU combinations whose sentences the run's constants hold, in their order."""
        return ()

    def evidence(self, vocabulary: Sequence[str], context: Context) -> Evidence | None:
        """What is said for each AU; None: the method knows of none.

        `vocabulary` is that of the clips which `context` was made of.
        """
        return None

    def ranks(
        self,
        columns: dict[str, np.ndarray],
        context: Context,
        train: np.ndarray,
        index: np.ndarray,
        outputs: dict,
    ) -> np.ndarray | None:
        """At which place, from 1, each clip's own sentence is among those of training.

        Of clips `index` [n] and their `outputs`, 0 for a clip whose sentence no
        training clip has. None: the method has no sentences for clips.
        """
        return None

    def reading(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        train: np.ndarray,
        outputs: dict,
    ) -> Reading | None:
        """What the `outputs` [n, ...] of a member say of AUs; None: nothing.

        `train` are the indices of its training clips: no other may tell how to read.
        """
        return None
