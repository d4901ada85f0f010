"""Which published model a file holds, told from its keys.

A family is told by a key that it alone has. What stands before that key is a prefix:
whatever wraps the model (DataParallel, Lightning, a bigger model), no list of wrappers
is needed.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.families import (
    clip,
    fdp,
    hugging_face,
    mer_clip,
    uniformer_v2,
    viclip,
)
from merclip_jax.weights.formats.sets import WeightSet, averaged
from merclip_jax.weights.problems import listed, misfit

FAMILIES = {
    "uniformer_v2": uniformer_v2.FAMILY,
    "mer_clip": mer_clip.FAMILY,
    "clip": clip.FAMILY,
    "viclip": viclip.FAMILY,
    "fdp": fdp.FAMILY,
}
# Keys by which families are told, in the order in which they are looked for: MER-CLIP
# holds a UniFormerV2 and ViCLIP's text tower.
_ANCHORS: tuple[tuple[str, str], ...] = (
    (r"vision_encoder\.transformer\.temporal_cls_token", "mer_clip"),
    (r"(?<!vision_encoder\.)to_cls_decoder\.weight", "mer_clip"),
    (r"frame_rep\.stem\.0\.conv\.weight", "fdp"),
    (r"transformer\.temporal_cls_token", "uniformer_v2"),
    (r"text_encoder\.token_embedding\.weight", "viclip"),
    (r"visual\.conv1\.weight", "clip"),
    (r"vision_model\.embeddings\.patch_embedding\.weight", "clip"),
    (r"text_model\.embeddings\.token_embedding\.weight", "clip"),
)
# Of parts that stand alone; too common to be looked for beside the others.
_ALONE: tuple[tuple[str, str], ...] = (
    (r"cls_head\.fc_cls\.(weight|bias)", "mer_clip"),
    (r"token_embedding\.weight", "clip"),
    (r"class_embedding", "clip"),  # the image tower, cut out without `visual.`
    (r"embeddings\.patch_embedding\.weight", "clip"),  # Hugging Face's, likewise
)
# Keys that only a UniFormerV2 has, under the name of a part of the family.
_PREFIX_TOO = {
    "mer_clip": ("vision_encoder.transformer.proj.0.weight",),
    "clip": ("visual.transformer.temporal_cls_token",),
}
# A key of an image tower that was cut out -> the prefix that it lost.
_CUT = {"class_embedding": "visual.", "pre_layrnorm.weight": "vision_model."}
_MODELS = 100  # that one table of tensors may hold
# What torch.compile, DataParallel, FSDP and checkpointing put between names.
_WRAPPERS = re.compile(
    r"\.(_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A model that a table of tensors holds.

    Attributes:
        table: where.
        prefix: that its keys have, without wrappers.
        family: its name.
        keys: key without prefix and wrappers -> the file's own key.
        wrappers: that stood between names, and the prefix: what was cut off.
        name: what a user calls this set of weights; "" when it is the whole file.
        averaged: whether it is an average over a training (EMA).
    """

    table: WeightSet
    prefix: str
    family: str
    keys: Mapping[str, str]
    wrappers: tuple[str, ...]
    name: str
    averaged: bool

    @property
    def shown(self) -> str:
        """Its name and kind, for people."""
        kind = "ema" if self.averaged else "raw"
        return f"{self.name or 'the whole file'} ({kind})"


class Named(NamedTuple):
    """A file's arrays under the names of its family's rules.

    `names` are the keys as the file has them; `dropped` says why a key is left aside.
    """

    family: str
    state: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]
    dropped: dict[str, str]


def candidates(path: str, table: WeightSet) -> list[Candidate]:
    """The models of known families in a table of tensors.

    Args:
        path: of the file, for errors.
        table: as it lies there.

    Returns:
        Them in the file's order, none for a table of something else.

    Raises:
        UserError: two keys differ by a wrapper alone, or there is no end of models.
    """
    keys: dict[str, str] = {}
    twice = []
    for key in table.tensors:
        plain = _WRAPPERS.sub("", key)
        if plain in keys:
            twice.append(f"{keys[plain]} and {key}: one name but for its wrappers")
        keys[plain] = key
    found = _families(keys, table) if keys else {}
    if twice and found:
        raise misfit(path, twice)
    if len(found) > _MODELS:
        raise UserError(f"{path}: holds {len(found)} models, expected one or two")
    wrappers = sorted({w for k in table.tensors for w in _WRAPPERS.findall(k)})
    result = []
    for prefix, family in found.items():
        inner = [p for p in found if p != prefix and p.startswith(prefix)]
        own = {
            key.removeprefix(prefix): told
            for key, told in keys.items()
            if key.startswith(prefix) and not key.startswith(tuple(inner))
        }
        names = [*table.names, prefix.rstrip(".")] if len(found) > 1 else table.names
        result.append(
            Candidate(
                table=table,
                prefix=prefix,
                family=family,
                keys=own,
                wrappers=(*(f"{w}." for w in wrappers), *([prefix] if prefix else [])),
                name=".".join(names),
                averaged=table.averaged or averaged(prefix),
            )
        )
    return result


def _families(keys: Mapping[str, str], table: WeightSet) -> dict[str, str]:
    """Prefix -> family; a family's own parts are no models beside it."""
    found: dict[str, str] = {}
    for prefix, family in _anchored(keys, _ANCHORS):
        # Names that are another's prefix here: a UniFormerV2 under them.
        alone = [f"{prefix}{inner}" for inner in _PREFIX_TOO.get(family, ())]
        if not any(key in keys for key in alone):
            # The order of the anchors decides where several fit.
            found.setdefault(prefix, family)
    # MER-CLIP's parts have anchors of their own; so has CLIP's text tower.
    for whole in [p for p, family in found.items() if family in ("mer_clip", "viclip")]:
        for part in ("vision_encoder.", "text_encoder."):
            found.pop(f"{whole}{part}", None)
    if found:
        return found
    for prefix, family in _anchored(keys, _ALONE):
        if family == "mer_clip" or _tower(prefix, keys, table):
            found.setdefault(prefix, family)
    return found


def _anchored(keys: Mapping[str, str], anchors) -> Iterator[tuple[str, str]]:
    for pattern, family in anchors:
        for key in keys:
            match = re.search(rf"(?:{pattern})$", key)
            if not match:
                continue
            prefix = key[: match.start()]
            # A prefix that ends within a word is one when all keys have it.
            if prefix[-1:] in ("", ".") or all(k.startswith(prefix) for k in keys):
                yield prefix, family


def _tower(prefix: str, keys: Mapping[str, str], table: WeightSet) -> bool:
    """Whether one of CLIP's towers lies under a prefix alone."""
    if f"{prefix}pre_layrnorm.weight" in keys:
        return True
    if not any(k.startswith(f"{prefix}transformer.resblocks.") for k in keys):
        return False
    kernel = keys.get(f"{prefix}conv1.weight")
    text = f"{prefix}token_embedding.weight" in keys
    return text or (kernel is not None and len(table.tensors[kernel].shape) == 4)


def unknown(path: str, tables: list[WeightSet]) -> UserError:
    """The error about a file that holds no known family; its first keys are told."""
    titles = ", ".join(family.title for family in FAMILIES.values())
    keys = [
        f"{'.'.join([*table.names, key] if len(tables) > 1 else [key])} {value.shape}"
        for table in tables
        for key, value in table.tensors.items()
    ]
    return UserError(listed(f"{path}: holds none of {titles}; its keys", keys))


def named(path: str, found: Candidate, arrays: Mapping[str, np.ndarray]) -> Named:
    """A model under the names of its family's rules, Hugging Face's renamed.

    Args:
        path: of the file, for errors.
        found: which model.
        arrays: of its table, by the file's keys.

    Returns:
        The arrays, by which names problems are told, and what lies outside of it.

    Raises:
        UserError: q, k and v of one layer cannot be packed.
    """
    # Every renaming keeps the file's own keys, by which problems are told.
    names = {key: (told,) for key, told in found.keys.items()}
    if any(key.startswith("text.transformer.") for key in names):  # open_clip's form
        names = {key.removeprefix("text."): told for key, told in names.items()}
    if "to_cls_decoder.weight" in names:  # MER-CLIP's encoder without its prefix
        names = {f"vision_encoder.{key}": told for key, told in names.items()}
    for key, cut in _CUT.items():
        if found.family == "clip" and key in names:
            names = {f"{cut}{key}": told for key, told in names.items()}
    state = {key: arrays[told[0]] for key, told in names.items()}
    if any(key.startswith(hugging_face.STARTS) for key in names):
        state, names = hugging_face.to_openai(path, state, names)
    title = FAMILIES[found.family].title
    inside = set(found.keys.values())
    outside = f"outside of {found.prefix}, which holds the {title}"
    dropped = {key: outside for key in arrays if key not in inside}
    return Named(found.family, state, names, dropped | dict(found.table.others))
