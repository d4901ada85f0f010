"""A part for a purpose: what must be there, what starts anew, what is left aside."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip
from merclip_jax.weights.families import clip_text, numbers, uniformer_v2
from merclip_jax.weights.families.clip import PROJECTION
from merclip_jax.weights.families.detect import FAMILIES
from merclip_jax.weights.families.rules import Why
from merclip_jax.weights.match import Shapes, fit
from merclip_jax.weights.part import Part

HEAD = ("params/head/.*", "the emotion head starts anew")
LAST = ("params/head/classifier/.*", "the last layer starts anew (new_head)")
TEMPERATURE = ("params/logit_(scale|bias)", "the temperature starts anew")
AU_LACKS = (
    ("params/(pta|gda|norm|text_adapter)/.*", "CLIP has no AUs"),
    ("params/log_tau", "the temperature starts anew"),
    (PROJECTION, "the file has no image projection of CLIP"),
)
FIXED = (
    ("params/logit_scale", "this recipe's temperature is fixed"),
    ("params/logit_bias", "this loss has no bias"),
)


def fit_vision(
    part: Part, shapes: Shapes, *, norm_from_classifier: bool = True
) -> Part:
    """The encoder of a video part for a MER-CLIP.

    Head and temperature start anew; projectors come from MER-CLIP files alone.

    Args:
        part: of any family.
        shapes: of the MER-CLIP.
        norm_from_classifier: whether the norm before UniFormerV2's classifier becomes
            the norm of the pooled feature. It is the same thing.

    Returns:
        The part, its problems listed.
    """
    family = FAMILIES[part.module["family"]]
    # Whatever the file's head was for, here it would be other classes or another task.
    fresh = [HEAD, TEMPERATURE, *family.lacks]
    unused = [HEAD, TEMPERATURE, *_beyond(shapes, family.beyond)]
    if family is uniformer_v2.FAMILY and not norm_from_classifier:
        # The authors' loader misses the norm by its name; "released" does as it does.
        fresh.append(uniformer_v2.NORM)
        unused.append(uniformer_v2.NORM)
    return fit(part, shapes, fresh=fresh, unused=unused)


def fit_clip(part: Part, shapes: Shapes) -> Part:
    """CLIP's image tower and, where it is there, projection, for a detector of AUs.

    Args:
        part: the video part of a CLIP.
        shapes: of the detector.

    Returns:
        The part, its problems listed.
    """
    return fit(part, shapes, fresh=AU_LACKS)


def fit_merclip(part: Part, shapes: Shapes, *, new_head: bool = False) -> Part:
    """A whole MER-CLIP, but for its last layer when `new_head`.

    Args:
        part: the video part of a MER-CLIP.
        shapes: of the MER-CLIP that starts from it.
        new_head: whether the last layer, and nothing else, starts anew.

    Returns:
        The part, its problems listed.
    """
    last = [LAST] if new_head else []
    # A recipe with a fixed temperature leaves the learned one aside, and one that
    # learns it starts it anew from a recipe that did not.
    return fit(
        part,
        shapes,
        fresh=[*last, TEMPERATURE],
        unused=[*last, *_beyond(shapes, FIXED)],
        switch="config.init.new_head=True",
    )


def fit_text(part: Part, size: mer_clip.Size | None = None) -> Part:
    """A text part as the tower that its numbers describe, its context padded.

    Args:
        part: of any family.
        size: whose tower it must be, None for any.

    Returns:
        The part, its problems listed.
    """
    context = FAMILIES[part.module["family"]].context
    module = dict(part.module)
    module["context"] = max(module["context"], context)
    if size:  # the config's tower, so that what differs is told by its array
        module |= {
            "width": size.text_width,
            "layers": size.text_layers,
            "out": size.embed,
        }
    fitted = fit(part, clip_text.text_shapes(module))
    return dataclasses.replace(fitted, module=module)


def fit_whole(part: Part, *, without: Sequence[Why] = ()) -> Part:
    """A video part in the module that its own numbers describe.

    Args:
        part: of any family.
        without: paths to leave out, and why. What a folder left out on purpose need not
            be there either.

    Returns:
        The part, its problems listed.

    Raises:
        UserError: no module has these numbers.
    """
    module = part.module
    try:
        shapes = FAMILIES[module["family"]].shapes(module)
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise UserError(
            f"{part.name}: no module has these numbers ({error}): {module}"
        ) from error
    # A folder made with --new_head or --into lacks arrays on purpose, and says why.
    left = ((re.escape(path), why) for path, why in part.initialised.items())
    return fit(part, shapes, fresh=[*without, *left], unused=without)


def fit_into(part: Part, encoder: str) -> Part:
    """A CLIP image tower in the video encoder of its size.

    Args:
        part: CLIP's video part, of one of this project's sizes.
        encoder: one of `mer_clip.ENCODERS`.

    Returns:
        The part, its problems listed.

    Raises:
        UserError: the part or the encoder is another.
    """
    module = part.module
    if encoder not in mer_clip.ENCODERS:
        known = ", ".join(mer_clip.ENCODERS)
        raise UserError(f"--into={encoder}: expected one of {known}")
    # Nothing in CLIP says which global blocks go with it; a size's name does.
    known = module["family"] == "clip" and module["size"]
    if not known or module.get("into", encoder) != encoder:
        raise UserError(
            f"--into={encoder} takes CLIP's image towers of the sizes "
            f"{', '.join(mer_clip.SIZES)}; {part.name} is {describe(module)}"
        )
    options = mer_clip.MerClipOptions(size=module["size"], video=encoder)
    # Only the factorised encoder has a table over time, which starts anew anyway.
    frames = View.frames
    model = mer_clip.mer_clip(options, classes=1, frames=frames)
    shapes = numbers.shapes_of(model, module["image_size"], frames=frames)
    own = {path: shape for path, shape in shapes.items() if "/encoder/" in path}
    return dataclasses.replace(
        fit_vision(part, own), module=dict(module) | {"into": encoder}
    )


def describe(module: Mapping) -> str:
    """One line on a module: family, encoder, size, structure, classes."""
    family = FAMILIES[module["family"]]
    title = family.title
    if family.describe:
        return family.describe(module)
    if "vocabulary" in module:
        return (
            f"{title} text tower, {module['layers']} layers of {module['width']}, "
            f"{module['vocabulary']} ids, context {module['context']}"
        )
    size = module["size"] or f"{module['layers']} layers of {module['width']}"
    line = f"{title}, {module['encoder']} {size}, patch {module['patch_size']}"
    line += f", {module['image_size']} pixels"
    if "structure" in module:
        line += (
            f", structure {module['structure'] or 'unknown'}: temporal kernel "
            f"{module['taps']}, {module['local_mhra'] or 'no'} local MHRA a block, "
            f"{module['global_blocks']} global blocks"
        )
    line += f", {module['classes']} classes" if module["classes"] else ""
    return line + (f", fitted into {module['into']}" if "into" in module else "")


def _beyond(shapes: Shapes, whys: Sequence[Why]) -> list[Why]:
    """The reasons whose paths the module lacks: there the file's arrays are unused."""
    return [
        (pattern, why)
        for pattern, why in whys
        if not any(re.fullmatch(pattern, path) for path in shapes)
    ]
