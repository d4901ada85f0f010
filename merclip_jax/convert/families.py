"""Which published model a file holds, told from its keys and shapes."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from merclip_jax.convert import rules
from merclip_jax.convert.apply import Why, listed
from merclip_jax.convert.rules import Rule
from merclip_jax.errors import UserError

PREFIXES = ("module.", "backbone.")


class Family(NamedTuple):
    """How one family's files are read: rules of its parts, and keys left aside."""

    title: str
    video: list[Rule]
    text: list[Rule]
    dropped: tuple[Why, ...] = ()


_CLIP_DROPPED = (
    (r"visual\.proj", "CLIP's image projection: MER-CLIP learns its own"),
    ("logit_scale", "CLIP's temperature: MER-CLIP has its own"),
    ("logit_bias", "CLIP's bias: MER-CLIP has its own"),
    (r"(input_resolution|context_length|vocab_size)", "a number, seen in the shapes"),
    (r"(.*\.)?(attn_mask|position_ids)", "a constant that is computed here"),
)
FAMILIES = {
    "uniformer_v2": Family("UniFormerV2", rules.UNIFORMER_V2_CLASSIFIER, []),
    "mer_clip": Family(
        "MER-CLIP", rules.MER_CLIP, rules.under("text_encoder.", rules.CLIP_TEXT)
    ),
    "clip": Family(
        "CLIP",
        rules.under("visual.", rules.CLIP_VISUAL),
        rules.CLIP_TEXT,
        _CLIP_DROPPED,
    ),
    "viclip": Family(
        "ViCLIP",
        [],
        rules.under("text_encoder.", rules.CLIP_TEXT),
        (
            (r"vision_encoder\..*", "ViCLIP's video encoder is another model"),
            ("temp|logit_scale", "ViCLIP's temperature: MER-CLIP has its own"),
        ),
    ),
}


class Named(NamedTuple):
    """A file's arrays under the names of its family's rules.

    `names` are the keys as the file has them; `prefixes` were cut from all of them.
    """

    family: str
    state: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]
    prefixes: tuple[str, ...]


def recognise(path: str, state: Mapping[str, np.ndarray]) -> Named:
    """The family of a file, its keys cut of prefixes and Hugging Face's renamed.

    Raises UserError that names the file and its first keys when it is no known family.
    """
    names = {key: (key,) for key in state}
    prefixes = []
    while found := next(
        (p for p in PREFIXES if all(k.startswith(p) for k in names)), 0
    ):
        names = {key.removeprefix(found): value for key, value in names.items()}
        prefixes.append(found)
    if any(k.startswith("text.transformer.") for k in names):  # open_clip's other form
        names = {key.removeprefix("text."): value for key, value in names.items()}
    if "to_cls_decoder.weight" in names:  # MER-CLIP's encoder without its prefix
        names = {f"vision_encoder.{key}": value for key, value in names.items()}
    family = _family(names)
    if family is None:
        raise UserError(
            listed(
                f"{path}: holds none of {', '.join(f.title for f in FAMILIES.values())}"
                "; its keys",
                [f"{key} {value.shape}" for key, value in state.items()],
            )
        )
    renamed = {key: state[value[0]] for key, value in names.items()}
    if any(key.startswith(("vision_model.", "text_model.")) for key in names):
        renamed, names = _from_hugging_face(renamed, names)
    return Named(family, renamed, names, tuple(prefixes))


def _family(keys: Mapping[str, object]) -> str | None:
    def have(*starts):
        return any(key.startswith(starts) for key in keys)

    if have("vision_encoder.transformer.temporal_cls_token", "cls_head."):
        return "mer_clip"
    if have("text_encoder.token_embedding"):
        return "viclip"
    if have("transformer.temporal_cls_token"):
        return "uniformer_v2"
    if have("visual.conv1", "vision_model.embeddings", "text_model.embeddings"):
        return "clip"
    if have("token_embedding.weight") and have("transformer.resblocks."):
        return "clip"
    return None


def _from_hugging_face(
    state: Mapping[str, np.ndarray], names: Mapping[str, tuple[str, ...]]
) -> tuple[dict, dict]:
    """OpenAI's names and layouts; q, k and v become one packed projection."""
    compiled = [(re.compile(old), new) for old, new in rules.HUGGING_FACE]
    out, sources, packed = {}, {}, {}
    for key, array in state.items():
        hit = next(((m, n) for r, n in compiled if (m := r.fullmatch(key))), None)
        new = hit[1].format(*hit[0].groups()) if hit else key
        if key in ("text_projection.weight", "visual_projection.weight"):
            new = "text_projection" if key[0] == "t" else "visual.proj"
            array = array.T
        part = re.search(r"\.self_attn\.([qkv])_proj\.", key)
        if hit and part:
            packed.setdefault(new, {})[part[1]] = (array, names[key])
        else:
            out[new], sources[new] = array, names[key]
    for new, parts in packed.items():
        arrays = [parts[p][0] for p in "qkv" if p in parts]
        sources[new] = tuple(name for p in "qkv" if p in parts for name in parts[p][1])
        out[new] = np.concatenate(arrays)  # of a wrong shape when one is missing
    return out, sources


def video_module(family: str, arrays: Mapping[str, np.ndarray]) -> dict | None:
    """What the video part is, from its placed arrays; None without one.

    "size" and "structure" are the names of this project's, "" when it has none such.
    Raises KeyError when an array that tells the structure is missing.
    """
    own = {k: v for k, v in arrays.items() if k.startswith("params/")}
    if not own:
        return None
    taps, patch, _, _, width = own["params/encoder/patch_embed/kernel"].shape
    tokens = len(own["params/encoder/positional_embedding"])
    module = {
        "encoder": "clip_vit" if family == "clip" else "uniformer_v2",
        "width": width,
        "layers": _count(own, r"params/encoder/block_(\d+)/.*"),
        "patch_size": patch,
        "image_size": math.isqrt(tokens - 1) * patch,
        "taps": taps,
    }
    if family != "clip":
        reduce = own.get("params/encoder/block_0/lmhra1/reduce/bias")
        hidden = own.get("params/encoder/global_0/mlp/c_fc/bias")
        module |= {
            "local_mhra": _count(own, r"params/encoder/block_0/lmhra(\d)/.*", first=1),
            "reduced": 0 if reduce is None else len(reduce),
            "global_blocks": _count(own, r"params/encoder/global_(\d+)/.*"),
            "global_hidden": 0 if hidden is None else len(hidden),
            "frozen": "params/encoder/balance" not in own,
        }
    classifier = own.get(
        "params/classifier/bias", own.get("params/head/classifier/bias")
    )
    module["classes"] = None if classifier is None else len(classifier)
    if family == "mer_clip":
        module |= {
            "embed": own["params/video_projection"].shape[-1],
            "head_blocks": _count(own, r"params/head/block_(\d+)/.*"),
            "temperature": "params/logit_scale" in own,
        }
    return module


def text_module(arrays: Mapping[str, np.ndarray]) -> dict | None:
    """What the text part is, from its placed arrays; None without one."""
    if not arrays:
        return None
    vocabulary, width = arrays["params/token_embedding"].shape
    return {
        "vocabulary": vocabulary,
        "context": len(arrays["params/positional_embedding"]),
        "width": width,
        "layers": _count(arrays, r"params/block_(\d+)/.*"),
        "out": arrays["params/text_projection"].shape[-1],
    }


def _count(paths: Sequence[str] | Mapping, pattern: str, *, first: int = 0) -> int:
    found = {int(m[1]) for path in paths if (m := re.fullmatch(pattern, path))}
    return max(found) + 1 - first if found else 0
