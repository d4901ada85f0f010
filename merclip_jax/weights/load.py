"""What a training starts from: shapes in, variables and their lineage out.

A path that the start does not fill keeps the random initialisation of each member.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.mer_clip import MerClip, Size
from merclip_jax.tokenizer import CONTEXT, ClipTokenizer
from merclip_jax.weights.families import detect as families
from merclip_jax.weights.families.numbers import (
    Fit,
    Shapes,
    fit,
    shapes_of,
    text_shapes,
)
from merclip_jax.weights.families.numbers import text_tower as tower_of
from merclip_jax.weights.match import Why, fail, unflatten
from merclip_jax.weights.provenance import account
from merclip_jax.weights.sources import Opened, open_source

HEAD = ("params/head/.*", "the emotion head starts anew")
LAST = ("params/head/classifier/.*", "the last layer starts anew (new_head)")
TEMPERATURE = ("params/logit_(scale|bias)", "the temperature starts anew")
FIXED = (
    ("params/logit_scale", "this recipe's temperature is fixed"),
    ("params/logit_bias", "this loss has no bias"),
)
PROJECTORS = (
    "params/(video_projection|video_norm/.*|head_projection/.*|head_norm/.*)",
    "the file has no projectors of MER-CLIP",
)
CLASSIFIER = ("params/classifier/.*", "a classifier of the file's own classes")
NORM = ("params/encoder/norm/.*", "left at its start (norm_from_classifier=False)")
LN_POST = ("params/encoder/ln_post/.*", "CLIP's last norm: UniFormerV2 has none")
CLIP_LACKS = (
    (r"(params|batch_stats)/encoder/block_\d+/lmhra\d/.*", "CLIP has no local MHRA"),
    (r"params/encoder/global_\d+/.*", "CLIP has no global blocks"),
    ("params/encoder/(temporal_cls_token|balance)", "CLIP has no global blocks"),
    ("params/encoder/temporal_.*", "CLIP has no blocks over time"),
    ("params/encoder/norm/.*", "CLIP has no norm of the clip's feature"),
)


class Start(NamedTuple):
    """Arrays float32 by Flax path, and where they come from as `account` says it."""

    arrays: dict[str, np.ndarray]
    lineage: dict


class Text(NamedTuple):
    """A published text tower: module, variables, tokenizer, lineage."""

    tower: ClipText
    variables: dict
    tokenizer: ClipTokenizer
    lineage: dict


def load(
    model: MerClip,
    clip: tuple[int, int],
    *,
    vision: str = "",
    merclip: str = "",
    norm_from_classifier: bool = True,
    new_head: bool = False,
) -> Start | None:
    """What `model` starts from, None for nothing; `clip` is (frames, image size).

    Raises UserError when two starts are given or one does not fit.
    """
    if new_head and not merclip:
        raise UserError("config.init.new_head=True goes with config.init.merclip alone")
    if vision and merclip:
        raise UserError(
            f"init.vision={vision} and init.merclip={merclip}: give one of them"
        )
    if not (vision or merclip):
        return None
    shapes = shapes_of(model, clip[1], frames=clip[0])
    if merclip:
        return load_merclip(merclip, shapes, new_head=new_head)
    return load_vision(vision, shapes, norm_from_classifier=norm_from_classifier)


def load_vision(
    source: str, shapes: Shapes, *, norm_from_classifier: bool = True
) -> Start:
    """The encoder of a source for a MER-CLIP of `shapes` (`fit.shapes_of`).

    From MER-CLIP files come the projectors too; head and temperature always start
    anew. `norm_from_classifier` False leaves the pooled feature's norm at its start
    though UniFormerV2 has its like before the classifier. Raises UserError that lists
    what does not fit.
    """
    opened = open_source(source, only="video")
    fitted = fit_vision(opened, shapes, norm_from_classifier=norm_from_classifier)
    return _start(opened, fitted, "video", shapes)


def load_merclip(source: str, shapes: Shapes, *, new_head: bool = False) -> Start:
    """A whole MER-CLIP of `shapes`, but for its last layer when `new_head`.

    Raises UserError that lists what does not fit.
    """
    opened = open_source(source, only="video")
    placed, family = _video(opened)
    if family != "mer_clip":
        raise UserError(
            f"{source}: holds {families.FAMILIES[family].title}, not MER-CLIP; give it "
            "as init.vision"
        )
    left = any(re.fullmatch(LAST[0], p) for p in opened.initialised.get("video", ()))
    if left and not new_head:
        raise UserError(
            f"{source}: was made with --new_head and has no last layer; set "
            "config.init.new_head=True"
        )
    if not any(path.startswith("params/head/") for path in placed.arrays):
        raise UserError(f"{source}: has no emotion head; give it as init.vision")
    last = [LAST] if new_head else []
    fitted = fit(
        placed,
        shapes,
        fresh=[*last, TEMPERATURE],
        unused=[*last, *_beyond(shapes, FIXED)],
        switch="config.init.new_head=True",
    )
    return _start(opened, fitted, "video", shapes)


def load_tower(size: Size, *, text: str = "", merclip: str = "") -> Text | None:
    """The text tower of `text`, or else of `merclip` when that holds one, or None.

    Raises UserError as `load_text` does.
    """
    if text:
        return load_text(text, size)
    opened = open_source(merclip, only="text") if merclip else None
    return _text(opened, size) if opened and "text" in opened.parts else None


def load_text(source: str, size: Size) -> Text:
    """The text tower of a source, which must be that of `size`, and its tokenizer.

    Contexts shorter than CLIP's are padded with rows of zeros. Raises UserError that
    lists what does not fit, and when no tokenizer lies with the weights.
    """
    opened = open_source(source, only="text")
    if "text" not in opened.parts:
        raise UserError(f"{source}: holds no text tower")
    return _text(opened, size)


def _text(opened: Opened, size: Size) -> Text:
    module = opened.modules["text"] | {
        "width": size.text_width,
        "layers": size.text_layers,
        "out": size.embed,
    }
    fitted = fit_text(opened, module)
    start = _start(opened, fitted, "text", {})
    tokenizer = opened.tokenizer
    if tokenizer is None or tokenizer.size != module["vocabulary"]:
        raise UserError(
            f"{opened.name}: no tokenizer of {module['vocabulary']} ids lies with "
            "these weights; put vocab.json and merges.txt, or CLIP's "
            "bpe_simple_vocab_16e6.txt.gz, beside the file, or set config.init.text"
        )
    tower = tower_of(size, padded(module))
    variables = jax.tree.map(jnp.asarray, unflatten(start.arrays))
    return Text(tower, variables, tokenizer, start.lineage)


def fit_vision(
    opened: Opened, shapes: Shapes, *, norm_from_classifier: bool = True
) -> Fit:
    """The video part of a source, without head and temperature, in `shapes`."""
    placed, family = _video(opened)
    fresh, unused = [HEAD, TEMPERATURE], [HEAD, TEMPERATURE, CLASSIFIER]
    fresh += [] if family == "mer_clip" else [PROJECTORS]
    if family == "clip":
        fresh += CLIP_LACKS
        unused += _beyond(shapes, [LN_POST])
    if family == "uniformer_v2" and not norm_from_classifier:
        fresh.append(NORM)
        unused.append(NORM)
    return fit(placed, shapes, fresh=fresh, unused=unused)


def fit_text(opened: Opened, module: Mapping) -> Fit:
    """The text part of a source as the tower of `module`, its context padded."""
    return fit(opened.parts["text"], text_shapes(padded(module)))


def padded(module: Mapping) -> dict:
    """A text module with the context that its prompts need: ViCLIP has 32 of 77."""
    context = module["context"]
    if module["family"] == "viclip":
        context = max(context, CONTEXT)
    return dict(module) | {"context": context}


def _video(opened: Opened):
    if "video" not in opened.parts:
        raise UserError(f"{opened.name}: holds no video encoder, only a text tower")
    return opened.parts["video"], opened.modules["video"]["family"]


def _beyond(shapes: Shapes, whys: Sequence[Why]) -> list[Why]:
    """The reasons whose paths the module lacks: there the file's arrays are unused."""
    return [
        (pattern, why)
        for pattern, why in whys
        if not any(re.fullmatch(pattern, path) for path in shapes)
    ]


def _start(opened: Opened, fitted: Fit, part: str, shapes: Shapes) -> Start:
    if fitted.problems:
        error = fail(opened.name, fitted.problems)
        hint = _hint(opened.modules[part], shapes) if part == "video" else ""
        raise UserError(f"{error}{hint}")
    return Start(fitted.arrays, account(opened, fitted, part))


def _hint(module: Mapping, shapes: Shapes) -> str:
    """What to set in the config so that the model is the file's, "" when unknown."""
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
