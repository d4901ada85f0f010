"""CLIP under Hugging Face's names, renamed to OpenAI's before any rule is applied."""

import re
from collections.abc import Mapping

import numpy as np

from merclip_jax.weights.problems import misfit

STARTS = ("vision_model.", "text_model.")


def _layers(tower: str, ours: str) -> list[tuple[str, str]]:
    layer = rf"{tower}\.encoder\.layers\.(\d+)"
    block = ours + "transformer.resblocks.{0}"
    kind = r"(weight|bias)"
    return [
        (rf"{layer}\.layer_norm([12])\.{kind}", block + ".ln_{1}.{2}"),
        (rf"{layer}\.mlp\.fc1\.{kind}", block + ".mlp.c_fc.{1}"),
        (rf"{layer}\.mlp\.fc2\.{kind}", block + ".mlp.c_proj.{1}"),
        (rf"{layer}\.self_attn\.out_proj\.{kind}", block + ".attn.out_proj.{1}"),
        (rf"{layer}\.self_attn\.([qkv])_proj\.{kind}", block + ".attn.in_proj_{2}"),
    ]


# (regular expression of Hugging Face's key, OpenAI's key)
NAMES: list[tuple[str, str]] = [
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.weight", "visual.conv1.weight"),
    (
        r"vision_model\.embeddings\.position_embedding\.weight",
        "visual.positional_embedding",
    ),
    # The misspelling is Hugging Face's.
    (r"vision_model\.pre_layrnorm\.(weight|bias)", "visual.ln_pre.{0}"),
    (r"vision_model\.post_layernorm\.(weight|bias)", "visual.ln_post.{0}"),
    (r"text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.(weight|bias)", "ln_final.{0}"),
    *_layers("vision_model", "visual."),
    *_layers("text_model", ""),
]
# OpenAI multiplies by these from the right: plain matrices, not linear layers.
TRANSPOSED = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}


def to_openai(
    path: str, state: Mapping[str, np.ndarray], names: Mapping[str, tuple[str, ...]]
) -> tuple[dict, dict]:
    """OpenAI's names and layouts; q, k and v become one packed projection.

    Args:
        path: of the file, for errors.
        state: arrays by Hugging Face's keys.
        names: key -> the keys as the file has them.

    Returns:
        The same two by OpenAI's keys; a packed projection has three of the file's.

    Raises:
        UserError: q, k and v of one layer cannot be packed.
    """
    compiled = [(re.compile(old), new) for old, new in NAMES]
    out, sources, packed, problems = {}, {}, {}, []
    for key, array in state.items():
        hit = next(((m, n) for r, n in compiled if (m := r.fullmatch(key))), None)
        new = hit[1].format(*hit[0].groups()) if hit else key
        if key in TRANSPOSED:
            new, array = TRANSPOSED[key], array.T
        part = re.search(r"\.self_attn\.([qkv])_proj\.", key)
        if hit and part:
            packed.setdefault(new, {})[part[1]] = (array, names[key])
        else:
            out[new], sources[new] = array, names[key]
    # Packed last: a file may hold q, k and v in any order, or far apart.
    for new, parts in packed.items():
        arrays = [parts[p][0] for p in "qkv" if p in parts]
        sources[new] = tuple(name for p in "qkv" if p in parts for name in parts[p][1])
        shapes = [array.shape for array in arrays]
        if len(set(shapes)) > 1 or shapes[0] == ():
            problems.append(f"{' + '.join(sources[new])}: of shapes {shapes}")
        else:
            out[new] = np.concatenate(arrays)  # of a wrong shape when one is missing
    if problems:
        raise misfit(path, problems)
    return out, sources
