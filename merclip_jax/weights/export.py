"""Back to torch: a source's weights under the authors' names."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from merclip_jax.errors import UserError
from merclip_jax.models import mer_clip
from merclip_jax.weights.families.detect import FAMILIES
from merclip_jax.weights.families.rules import Layout, Rule
from merclip_jax.weights.fitting import fit_text, fit_whole
from merclip_jax.weights.part import Part
from merclip_jax.weights.problems import ConversionError, listed, misfit
from merclip_jax.weights.sources import open_source
from merclip_jax.weights.whole import write_whole


class Exported(NamedTuple):
    """How many tensors were written, and what of the source has no place there."""

    tensors: int
    left: tuple[str, ...]


def write_torch(name: str, dst: Path) -> Exported:
    """A source's weights under the authors' names, as a safetensors file.

    A MER-CLIP whose temperature is not learned gets the fixed one.

    Args:
        name: of the source.
        dst: the file, whose name ends in .safetensors.

    Returns:
        How many tensors were written, and what was left.

    Raises:
        UserError: lists what lacks, is not finite or has no name there.
    """
    source = open_source(name)
    video = source.modules.get("video", {})
    _check_encoder(name, video)
    left = [
        f"{p}: {w}" for of in source.parts.values() for p, w in of.initialised.items()
    ]
    # Half a checkpoint loads nowhere with strict names.
    if left:
        raise misfit(f"{name}: not all of it is in the folder", left)
    whole = video.get("family") == "mer_clip"
    state: dict[str, np.ndarray] = {}
    for kind, part in source.parts.items():
        # Fitted only to be sure that it is whole; written is what the source holds.
        fitted = fit_whole(part) if kind == "video" else fit_text(part)
        if fitted.problems:
            raise misfit(name, fitted.problems)
        named = _named(name, part, "mer_clip" if whole else part.module["family"])
        # UniFormerV2's and CLIP's names overlap, since each stood alone.
        both = sorted(named.keys() & state.keys())
        if both:
            raise misfit(name, [f"{key}: a key of both parts" for key in both])
        state |= named
    if whole and video["classes"] and "logit_scale" not in state:
        # The authors' model always has the parameter, and loads with strict names.
        fixed = math.log(1 / mer_clip.TEMPERATURE)
        state["logit_scale"] = np.asarray(fixed, np.float32)
    _write(dst, state)
    left = []
    if source.context:
        left.append(f"{len(source.context)} constants of the run and the fold")
    return Exported(len(state), tuple(left))


def to_torch(
    arrays: Mapping[str, np.ndarray], rules: Sequence[Rule]
) -> dict[str, np.ndarray]:
    """Flax paths and arrays to official keys and layouts, the inverse of `match.place`.

    Args:
        arrays: by Flax path.
        rules: of their family.

    Returns:
        The arrays by official key, with torch's BatchNorm counters.

    Raises:
        ConversionError: lists the paths that have no official key.
    """
    inverse = [_inverted(rule) for rule in rules]
    state, lost = {}, []
    for path, array in arrays.items():
        hits = [(m, k, lay) for r, k, lay in inverse if (m := r.fullmatch(path))]
        if not hits:
            lost.append(f"{path}: the official model has nothing like it")
            continue
        match, key, layout = hits[0]
        key = key.format(**match.groupdict())
        try:
            official = layout.to_torch(np.asarray(array))
        except ValueError:
            lost.append(
                f"{path}: expected the official model's shape, not {array.shape}"
            )
            continue
        # safetensors writes the buffer as it lies, whatever the strides say.
        state[key] = np.require(official, requirements="C")
        if key.endswith(".running_var"):  # torch's BatchNorm counts its batches
            counter = key.removesuffix("running_var") + "num_batches_tracked"
            state[counter] = np.zeros((), np.int64)
    if lost:
        raise ConversionError(listed(f"{len(lost)} problems in conversion", lost))
    return state


def _check_encoder(name: str, video: Mapping) -> None:
    # Here and not as a hundred paths without a name.
    encoder = video.get("into", video.get("encoder", ""))
    if "into" in video or encoder == "factorized_vit":
        of = "factorized_vit" if encoder == "factorized_vit" else f"CLIP in {encoder}"
        raise UserError(
            f"{name}: its encoder is {of}; the authors' code has none such, "
            "so there are no names for it"
        )


def _named(name: str, part: Part, family: str) -> dict[str, np.ndarray]:
    """A part's arrays under the names of a family: as they came, not as fitted."""
    rules = FAMILIES[family].video if part.kind == "video" else FAMILIES[family].text
    try:
        return to_torch(part.arrays, rules)
    except ConversionError as error:
        raise UserError(f"{name}: {error}") from error


def _write(dst: Path, state: Mapping[str, np.ndarray]) -> None:
    if dst.suffix != ".safetensors":
        raise UserError(f"{dst}: expected a name that ends in .safetensors")

    def write(path: Path) -> None:
        safetensors.numpy.save_file(dict(state), path, metadata={"format": "pt"})

    write_whole(dst, write, folder=False)


def _inverted(rule: Rule) -> tuple[re.Pattern, str, Layout]:
    """A rule the other way: its path as a pattern, its key as what that fills."""
    pattern, path, layout = rule
    # Groups of the pattern, in their order, are the {0}, {1} of the path.
    count = iter(range(9))
    key = re.sub(r"\(\\d\+?\)", lambda _: f"{{g{next(count)}}}", pattern)
    back = re.sub(r"\\\{(\d)\\\}", r"(?P<g\1>\\d+)", re.escape(path))
    return re.compile(back), key.replace("\\", ""), layout
