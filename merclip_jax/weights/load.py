"""What a training starts from: a config's sources in, parts that fit the model out.

A path that a part does not fill keeps the random initialisation of each member.
"""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from merclip_jax.errors import UserError
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.mer_clip import MerClip, Size, clip_text
from merclip_jax.weights.families.detect import FAMILIES
from merclip_jax.weights.families.numbers import shapes_of
from merclip_jax.weights.fitting import (
    LAST,
    fit_clip,
    fit_merclip,
    fit_text,
    fit_vision,
)
from merclip_jax.weights.match import Shapes, fit
from merclip_jax.weights.options import InitOptions, WholeOptions
from merclip_jax.weights.part import Part, Source
from merclip_jax.weights.problems import misfit
from merclip_jax.weights.sources import open_source

WHOLE_LAST = ("params/classifier/.*", "the last layer starts anew (new_head)")


def load_start(
    model: MerClip, clip: tuple[int, int, int, int], init: InitOptions
) -> Part | None:
    """What a model starts from, as the config's `init` says it.

    Args:
        model: the MER-CLIP to be trained.
        clip: its shape (t, h, w, 3).
        init: the sources.

    Returns:
        The video part, None when no source is named.

    Raises:
        UserError: two starts are given, or one does not fit.
    """
    vision, merclip = init.vision, init.merclip
    if init.weights and not (vision or merclip):
        raise UserError(
            f"config.init.weights={init.weights} goes with config.init.vision or "
            "config.init.merclip"
        )
    if init.new_head and not merclip:
        raise UserError("config.init.new_head=True goes with config.init.merclip alone")
    if vision and merclip:
        raise UserError(
            f"init.vision={vision} and init.merclip={merclip}: give one of them"
        )
    if not (vision or merclip):
        return None
    shapes = shapes_of(model, clip[1], frames=clip[0])
    # All members start from the same arrays; what is missing stays random in each.
    if merclip:
        return load_merclip(
            merclip, shapes, new_head=init.new_head, weights=init.weights
        )
    return load_vision(
        vision,
        shapes,
        norm_from_classifier=init.norm_from_classifier,
        weights=init.weights,
    )


def load_whole(family: str, shapes: Shapes, init: WholeOptions) -> Part | None:
    """What a model starts from that is of one family and no MER-CLIP.

    Args:
        family: of `FAMILIES`, whose files fit.
        shapes: of the model's variables.
        init: the source.

    Returns:
        The part, None when no source is named.

    Raises:
        UserError: it is of another family, or lists what does not fit.
    """
    if not init.model:
        return None
    part, known = _video(init.model, init.weights), FAMILIES[family]
    if part.module["family"] != family:
        title = FAMILIES[part.module["family"]].title
        raise UserError(f"{init.model}: holds {title}, expected {known.title}")
    last = [WHOLE_LAST] if init.new_head else []
    fitted = fit(
        part,
        shapes,
        fresh=[*last, *known.lacks],
        unused=last,
        switch="config.init.new_head=True",
    )
    if fitted.problems:
        raise misfit(part.name, fitted.problems)
    return fitted


def load_vision(
    source: str,
    shapes: Shapes,
    *,
    norm_from_classifier: bool = True,
    weights: str = "",
) -> Part:
    """The encoder of a source for a MER-CLIP, and MER-CLIP's own projectors.

    Args:
        source: any that has a video part.
        shapes: of the MER-CLIP (`numbers.shapes_of`).
        norm_from_classifier: False leaves the pooled feature's norm at its start though
            UniFormerV2 has its like before the classifier.
        weights: which set of weights of the file (`sources.open_source`).

    Returns:
        The video part without head and temperature.

    Raises:
        UserError: lists what does not fit.
    """
    part = _video(source, weights)
    fitted = fit_vision(part, shapes, norm_from_classifier=norm_from_classifier)
    return _fitting(fitted, shapes)


def load_clip(source: str, shapes: Shapes, *, weights: str = "") -> Part:
    """CLIP's image tower, and its image projection, for a detector of AUs.

    Args:
        source: of a CLIP; position embeddings of another resolution are resized.
        shapes: of the detector, path -> shape.
        weights: which set of weights of the file (`sources.open_source`).

    Returns:
        The video part; what CLIP has not starts at random.

    Raises:
        UserError: it is no CLIP, or lists what does not fit.
    """
    part = _video(source, weights)
    family, into = part.module["family"], part.module.get("into")
    if family != "clip" or into:
        held = FAMILIES[family].title + (f" in {into}" if into else "")
        raise UserError(
            f"{source}: holds {held}; expected CLIP's image tower as it was published"
        )
    fitted = fit_clip(part, shapes)
    if fitted.problems:
        error, size = misfit(part.name, fitted.problems), part.module["size"]
        ours = shapes["params/encoder/patch_embed/kernel"]
        theirs = part.module["patch_size"], part.module["width"]
        hint = f"\nThe file is of the size {size}: set config.model.size={size}"
        differs = size and theirs != (ours[1], ours[4])
        raise UserError(f"{error}{hint if differs else ''}")
    return fitted


def load_merclip(
    source: str, shapes: Shapes, *, new_head: bool = False, weights: str = ""
) -> Part:
    """A whole MER-CLIP.

    Args:
        source: of one with its emotion head.
        shapes: of the MER-CLIP that starts from it.
        new_head: whether the last layer starts anew.
        weights: which set of weights of the file (`sources.open_source`).

    Returns:
        The video part.

    Raises:
        UserError: lists what does not fit.
    """
    part = _video(source, weights)
    family = part.module["family"]
    if family != "mer_clip":
        raise UserError(
            f"{source}: holds {FAMILIES[family].title}, not MER-CLIP; give it "
            "as init.vision"
        )
    # Told here: as missing arrays it would read like a damaged folder.
    if any(re.fullmatch(LAST[0], p) for p in part.initialised) and not new_head:
        raise UserError(
            f"{source}: was made with --new_head and has no last layer; set "
            "config.init.new_head=True"
        )
    if not any(path.startswith("params/head/") for path in part.arrays):
        raise UserError(f"{source}: has no emotion head; give it as init.vision")
    return _fitting(fit_merclip(part, shapes, new_head=new_head), shapes)


def load_tower(
    size: Size, *, text: str = "", merclip: str = "", weights: str = ""
) -> Part | None:
    """The text tower of `text`, or else of `merclip` when that holds one.

    Args:
        size: whose tower it must be.
        text: a source that must hold one.
        merclip: a source that may.
        weights: which set of weights of `merclip`'s file.

    Returns:
        The text part, None for a random tower.

    Raises:
        UserError: as `load_text` does.
    """
    if text:
        return load_text(text, size)
    # A whole MER-CLIP brings its tower unasked, so that without one nothing is wrong.
    found = Source("")
    if merclip:
        found = open_source(merclip, only="text", weights=weights)
    return _tower(found.parts["text"], size) if "text" in found.parts else None


def load_text(source: str, size: Size) -> Part:
    """The text tower of a source, which must be that of a size, and its tokenizer.

    Args:
        source: any that has a text part; contexts shorter than CLIP's are padded.
        size: whose tower it must be.

    Returns:
        The text part.

    Raises:
        UserError: lists what does not fit; or no tokenizer lies with the weights.
    """
    found = open_source(source, only="text")
    if "text" not in found.parts:
        raise UserError(f"{source}: holds no text tower")
    return _tower(found.parts["text"], size)


def text_tower(part: Part, size: Size) -> tuple[ClipText, dict]:
    """The module and the variables of a text part.

    Args:
        part: what `load_text` gave.
        size: for which.

    Returns:
        The tower, and its variables on the device.
    """
    vocabulary, context = part.module["vocabulary"], part.module["context"]
    tower = clip_text(size, vocabulary=vocabulary, context=context)
    return tower, jax.tree.map(jnp.asarray, unflatten_dict(part.arrays, sep="/"))


def _video(source: str, weights: str) -> Part:
    found = open_source(source, only="video", weights=weights)
    if "video" not in found.parts:
        raise UserError(f"{found.name}: holds no video encoder, only a text tower")
    return found.parts["video"]


def _tower(part: Part, size: Size) -> Part:
    fitted = fit_text(part, size)
    if fitted.problems:
        raise misfit(part.name, fitted.problems)
    # The ids of another vocabulary would pick other words' rows without any error.
    ids, tokenizer = fitted.module["vocabulary"], fitted.tokenizer
    if tokenizer is None or tokenizer.size != ids:
        raise UserError(
            f"{part.name}: no tokenizer of {ids} ids lies with "
            "these weights; put vocab.json and merges.txt, or CLIP's "
            "bpe_simple_vocab_16e6.txt.gz, beside the file, or set config.init.text"
        )
    return fitted


def _fitting(part: Part, shapes: Shapes) -> Part:
    if part.problems:
        error = misfit(part.name, part.problems)
        raise UserError(f"{error}{_hint(part.module, shapes)}")
    return part


def _hint(module: Mapping, shapes: Shapes) -> str:
    """What to set in the config so that the model is the file's, "" when unknown."""
    # A hundred shapes that do not fit have one cause; the outermost is told.
    taps, patch, _, _, width = shapes["params/encoder/patch_embed/kernel"]
    size, structure = module["size"], module.get("structure", "")
    encoder = module.get("into", module["encoder"])
    factorized = "params/encoder/temporal_embedding" in shapes
    ours = "factorized_vit" if factorized else "uniformer_v2"
    if encoder not in (ours, "clip_vit"):
        return f"\nThe file's encoder is {encoder}: set config.model.video={encoder}"
    if size and (module["width"], module["patch_size"]) != (width, patch):
        return f"\nThe file is of the size {size}: set config.model.size={size}"
    if structure and module["taps"] != taps:
        return (
            f"\nThe file is of the structure {structure}: set "
            f"config.model.structure={structure}"
        )
    if module.get("frozen"):
        return (
            "\nThe file is of UniFormerV2's frozen variant, which has no "
            "`balance`; no training here starts from it"
        )
    return ""
