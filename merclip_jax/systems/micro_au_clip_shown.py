"""What a detector of AUs shows beside its answers: probabilities, where it looked."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from merclip_jax.data.clips import Clips
from merclip_jax.data.view import NO_FLOW
from merclip_jax.models.au_regions import on_grid, regions
from merclip_jax.models.clip_vit import SIZES
from merclip_jax.models.micro_au_clip import picture
from merclip_jax.scoring.emotion_rules import Reading
from merclip_jax.systems.system import (
    Batch,
    Context,
    Evidence,
    Exhibit,
    Outputs,
    System,
    Variables,
    first,
)
from merclip_jax.text import au_prompts
from merclip_jax.typing import Array, Float

MAPS = 3  # AUs of a clip whose attention a report shows


class MicroAuClipShown(System):
    """The part of `micro_au_clip.MicroAuClip` that no training needs."""

    place = ("tokens",)

    def inspect(
        self, variables: Variables, context: Context, batch: Batch
    ) -> tuple[Outputs, dict]:
        """What `predict` says, what the modules kept, and where the AUs looked."""
        marks = batch["landmarks"]
        seen = picture(batch["frames"].astype(jnp.float32), self.model.input)
        out, kept = self.module.apply(
            variables,
            seen,
            marks,
            context.run["features"],
            train=False,
            mutable=["intermediates"],
        )
        looks = self._maps(marks, out.slots).mean(1)[:, None]
        return self._outputs(out), kept["intermediates"] | {"looks": looks}

    def places(self, kept: dict) -> Array:
        """Patch tokens of the one picture, [b, 1, y, x, d]."""
        tokens = first(kept["tokens"])[:, 1:]
        return tokens.reshape(len(tokens), 1, *self._grid, -1)

    def still(self, batch: Batch) -> Batch:
        """The same clips without motion; of a flow, which is one picture, no flow."""
        if self.model.input == "flow":
            return {**batch, "frames": jnp.full_like(batch["frames"], NO_FLOW)}
        return super().still(batch)

    def looks(self, kept: dict) -> Array:
        """Attention to the patches of the AUs' regions, the AUs' mean, [b, 1, y, x]."""
        return kept["looks"]

    def features(self, kept: dict) -> dict[str, Array]:
        """All AUs' features side by side, before and after they read each other."""
        return {
            title: first(kept[name]).reshape(len(first(kept[name])), -1)
            for title, name in (
                ("AUs each by its region", "independent"),
                ("AUs that read each other", "dependent"),
            )
        }

    def evidence(self, vocabulary: Sequence[str], context: Context) -> Evidence:
        """The AUs' logits, by which it is scored."""
        del vocabulary, context
        note = "The AU's logit: present against absent."
        return Evidence(tuple(self.model.aus), lambda outputs: outputs["aus"], note)

    def reading(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        train: np.ndarray,
        outputs: dict,
    ) -> Reading:
        """What it is scored by."""
        del clips, columns, context, train
        return Reading(
            aus=tuple(self.model.aus),
            shown=self.task.answer(outputs),
            probabilities=self.task.probabilities(outputs),
            note="No emotion label was trained on.",
        )

    def exhibits(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        index: int,
        outputs: dict,
    ) -> tuple[Exhibit, ...]:
        """Every AU's probability; and where the likeliest ones looked on the apex."""
        del context
        shown = columns["aus"][index]
        rows = tuple(
            (float(expit(logit)), f"AU{au} {au_prompts.WORDS[au].name}", bool(there))
            for au, logit, there in zip(
                self.model.aus, outputs["aus"], shown, strict=True
            )
        )
        # Before AUs read each other, so of an AU's own region alone.
        likely = np.argsort(-outputs["aus"], kind="stable")[:MAPS]
        given = columns["landmarks"][index], outputs["attention"]
        maps = np.asarray(self._maps(*(jnp.asarray(one[None]) for one in given)))[0]
        apex = clips.decode(index)[-1]
        pictures = tuple(
            (f"AU{self.model.aus[i]}", _overlaid(apex, maps[i])) for i in likely
        )
        return (
            Exhibit("Probability of each AU", rows),
            Exhibit("Where each of the likeliest AUs looked", pictures=pictures),
        )

    @property
    def _grid(self) -> tuple[int, int]:
        """Patches of the picture, rows and columns."""
        side = self.view.image_size // SIZES[self.model.size].patch_size
        return side, side

    def _maps(
        self, landmarks: Float[Array, "b 68 2"], slots: Float[Array, "b a k"]
    ) -> Float[Array, "b a y x"]:
        """Attention over the slots of regions as pictures on the patches."""
        patch, grid = SIZES[self.model.size].patch_size, self._grid
        patches, _ = regions(landmarks, self.model.aus, patch_size=patch, grid=grid)
        return on_grid(slots, patches, grid)


def _overlaid(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A picture uint8 [h, w, 3] with red where weights [y, x] are high."""
    sides = [size // len(weights) for size in picture.shape[:2]]
    heat = np.kron(weights / weights.max(), np.ones(sides))[..., None]
    red = np.asarray([255, 0, 0])
    return np.rint(picture * (1 - 0.6 * heat) + red * 0.6 * heat).astype(np.uint8)
