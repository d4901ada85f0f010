"""Which published model a file holds, told from its keys and shapes."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.families import rules
from merclip_jax.weights.families.rules import Rule
from merclip_jax.weights.match import Why, fail, listed

_ENCODER = "params/encoder/"
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


class Unclear(ValueError):
    """The array at a Flax path, which should tell the structure, lacks or is odd."""

    def __init__(self, path: str, why: str):
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


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
        renamed, names = _from_hugging_face(path, renamed, names)
    return Named(family, renamed, names, tuple(prefixes))


def _family(keys: Mapping[str, object]) -> str | None:
    def have(*starts):
        return any(key.startswith(starts) for key in keys)

    if have("vision_encoder.transformer.temporal_cls_token", "cls_head.fc_cls."):
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
    path: str, state: Mapping[str, np.ndarray], names: Mapping[str, tuple[str, ...]]
) -> tuple[dict, dict]:
    """OpenAI's names and layouts; q, k and v become one packed projection."""
    compiled = [(re.compile(old), new) for old, new in rules.HUGGING_FACE]
    out, sources, packed, problems = {}, {}, {}, []
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
        shapes = [array.shape for array in arrays]
        if len(set(shapes)) > 1 or shapes[0] == ():
            problems.append(f"{' + '.join(sources[new])}: of shapes {shapes}")
        else:
            out[new] = np.concatenate(arrays)  # of a wrong shape when one is missing
    if problems:
        raise fail(path, problems)
    return out, sources


def video_module(family: str, arrays: Mapping[str, np.ndarray]) -> dict | None:
    """What the video part is, from its placed arrays; None without one.

    Raises Unclear when an array that tells the structure is missing or odd.
    """
    own = {k: v for k, v in arrays.items() if k.startswith("params/")}
    if not own:
        return None
    taps, patch, _, _, width = _shape(own, f"{_ENCODER}patch_embed/kernel", 5)
    positions = f"{_ENCODER}positional_embedding"
    tokens, _ = _shape(own, positions, 2)
    if tokens < 2:
        raise Unclear(positions, f"{tokens} rows, expected one and a square number")
    factorized = f"{_ENCODER}temporal_embedding" in own
    ours = "factorized_vit" if factorized else "uniformer_v2"
    module = {
        "encoder": "clip_vit" if family == "clip" else ours,
        "width": width,
        "layers": _count(own, rf"{_ENCODER}block_(\d+)/.*"),
        "patch_size": patch,
        "image_size": math.isqrt(tokens - 1) * patch,
        "taps": taps,
    }
    if module["encoder"] == "factorized_vit":
        module |= {
            "frames": _shape(own, f"{_ENCODER}temporal_embedding", 2)[0] - 1,
            "temporal_layers": _count(own, rf"{_ENCODER}temporal_(\d+)/.*"),
        }
    if module["encoder"] == "uniformer_v2":
        module |= _uniformer_module(own, module["layers"])
    ends = [f"params/{at}classifier/bias" for at in ("", "head/")]
    last = next((path for path in ends if path in own), None)
    module["classes"] = _shape(own, last, 1)[0] if last else None
    if family == "mer_clip":
        module |= {
            "embed": _shape(own, "params/video_projection", 2)[1],
            "head_blocks": _count(own, r"params/head/block_(\d+)/.*"),
            "temperature": "params/logit_scale" in own,
            "bias": "params/logit_bias" in own,
        }
    return module


def text_module(arrays: Mapping[str, np.ndarray]) -> dict | None:
    """What the text part is, from its placed arrays; None without one.

    Raises Unclear as `video_module` does.
    """
    if not arrays:
        return None
    vocabulary, width = _shape(arrays, "params/token_embedding", 2)
    return {
        "vocabulary": vocabulary,
        "context": _shape(arrays, "params/positional_embedding", 2)[0],
        "width": width,
        "layers": _count(arrays, r"params/block_(\d+)/.*"),
        "out": _shape(arrays, "params/text_projection", 2)[1],
    }


def _uniformer_module(own: Mapping[str, np.ndarray], layers: int) -> dict:
    reduce = f"{_ENCODER}block_0/lmhra1/reduce/bias"
    hidden = f"{_ENCODER}global_0/mlp/c_fc/bias"
    blocks = _count(own, rf"{_ENCODER}global_(\d+)/.*")
    mixers = _count(own, rf"{_ENCODER}block_0/lmhra(\d)/.*", first=1)
    if blocks > layers:
        odd = next(p for p in own if p.startswith(f"{_ENCODER}global_{blocks - 1}/"))
        raise Unclear(odd, f"{blocks} global blocks, but {layers} blocks of the ViT")
    if mixers > 2:
        odd = next(p for p in own if f"block_0/lmhra{mixers}/" in p)
        raise Unclear(odd, f"{mixers} local MHRA a block, expected at most 2")
    return {
        "local_mhra": mixers,
        "reduced": _shape(own, reduce, 1)[0] if reduce in own else 0,
        "global_blocks": blocks,
        "global_hidden": _shape(own, hidden, 1)[0] if hidden in own else 0,
        "frozen": f"{_ENCODER}balance" not in own,
    }


def _shape(arrays: Mapping[str, np.ndarray], path: str, rank: int) -> tuple[int, ...]:
    """The shape of an array that must be there and have `rank` axes, none empty."""
    if path not in arrays:
        raise Unclear(path, "missing from the file")
    shape = arrays[path].shape
    if len(shape) != rank or 0 in shape:
        raise Unclear(path, f"expected {rank} axes with entries, got shape {shape}")
    return shape


def _count(paths: Sequence[str] | Mapping, pattern: str, *, first: int = 0) -> int:
    found = {int(m[1]) for path in paths if (m := re.fullmatch(pattern, path))}
    return max(found) + 1 - first if found else 0
