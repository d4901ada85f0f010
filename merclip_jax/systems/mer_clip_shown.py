"""What a MER-CLIP shows beside its answers: sentences near a clip, AUs, maps."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from merclip_jax import facs
from merclip_jax.augment.clips import normalise
from merclip_jax.data.clips import Clips
from merclip_jax.models import mer_clip
from merclip_jax.models.mer_clip import MerClipOutput
from merclip_jax.scoring.emotion_rules import Reading
from merclip_jax.systems import sentences
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
from merclip_jax.typing import Array


class MerClipShown(System):
    """The part of `mer_clip.MerClip` that no training needs."""

    place = ("encoder", "after_ln_pre")

    def inspect(
        self, variables: Variables, context: Context, batch: Batch
    ) -> tuple[Outputs, dict]:
        """What `predict` says, and what the modules kept."""
        del context
        out, kept = self.module.apply(
            variables,
            normalise(batch["frames"]),
            train=False,
            mutable=["intermediates"],
        )
        return outputs_of(out), kept["intermediates"]

    def places(self, kept: dict) -> Array:
        """Patch tokens as they enter the encoder's blocks, [b, t, y, x, d].

        Blocks carry what a patch shows to others: behind them a token is no longer of
        its place alone.
        """
        tokens = first(kept["encoder"]["after_ln_pre"])[:, :, 1:]
        side = int(tokens.shape[2] ** 0.5)
        return tokens.reshape(*tokens.shape[:2], side, side, -1)

    def looks(self, kept: dict) -> Array | None:
        """What UniFormerV2's query read of the patches, its global blocks' rollout.

        Each block adds to what those before it read: half and half, the heads' mean.
        How patches read each other in between is not followed.
        """
        found = None
        for j in range(mer_clip.SIZES[self.model.size].layers):
            own = kept["encoder"].get(f"global_{j}")
            if own is not None:
                read = first(own["attn"]["weights_1"]).mean(1)
                found = read if found is None else (found + read) / 2
        return found

    def features(self, kept: dict) -> dict[str, Array]:
        """The clip's feature before the head, and token 0 behind its last block."""
        found = {"before the head": first(kept["pooled"])}
        if blocks := self.model.head_blocks:
            token = first(kept["head"][f"after_block_{blocks - 1}"])[:, 0]
            found["after the head"] = token
        return found

    def vocabulary(self, clips: Clips) -> tuple[str, ...]:
        """The AU combinations of the clips; none where sentences name emotions."""
        if self.prompting.supervision == "emotion":
            return ()
        return tuple(self.prompts(clips).names)

    def evidence(self, vocabulary: Sequence[str], context: Context) -> Evidence | None:
        """Likeness to the sentences that name an AU less that to those that do not."""
        if not vocabulary:
            return None
        return sentences.evidence(context.run["features"], _numbers(vocabulary))

    def exhibits(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        index: int,
        outputs: dict,
    ) -> tuple[Exhibit, ...]:
        """The three sentences nearest to a clip's embedding, and the annotated one."""
        made = self.prompts(clips)
        mine = int(columns["au_combination"][index])
        features, video = context.run["features"], outputs["video"]
        return (sentences.nearest(features, made.descriptions, mine, video),)

    def ranks(
        self,
        columns: dict[str, np.ndarray],
        context: Context,
        train: np.ndarray,
        index: np.ndarray,
        outputs: dict,
    ) -> np.ndarray | None:
        """By the cosine of clip and sentence; what ties counts against the clip."""
        said = _described(columns, train)
        if not said.size or "video" not in outputs:
            return None
        own = columns["au_combination"][index]
        return sentences.ranks(context.run["features"], said, own, outputs["video"])

    def reading(
        self,
        clips: Clips,
        columns: dict[str, np.ndarray],
        context: Context,
        train: np.ndarray,
        outputs: dict,
    ) -> Reading | None:
        """AUs by the likeness to training clips' sentences.

        None where no sentence names AUs, and of a chosen epoch, whose embeddings are
        not kept.
        """
        if self.prompting.supervision == "emotion" or "video" not in outputs:
            return None
        said = _described(columns, train)
        if not said.size:
            return None
        numbers = _numbers(np.asarray(self.prompts(clips).names)[said].tolist())
        features = context.run["features"][:, said]
        return sentences.reading(features, numbers, outputs)


def _numbers(names: Sequence[str]) -> list[set[int]]:
    """The AUs of each combination, without sides."""
    return [facs.parse_cell(name).numbers for name in names]


def _described(columns: dict[str, np.ndarray], train: np.ndarray) -> np.ndarray:
    """The AU combinations that some training clip has, sorted."""
    said = np.unique(columns["au_combination"][train])
    return said[said >= 0]


def outputs_of(out: MerClipOutput) -> Outputs:
    """What a model's output is called outside: logits, video, the scale of cosines."""
    scale = jnp.broadcast_to(out.scale, out.video.shape[:1])
    return {"logits": out.logits, "video": out.video, "scale": scale}
