"""Rule tables: every official key name, its Flax path and the change of layout.

A rule is (regular expression of the official key, Flax path, layout). Groups of the
expression fill `{0}`, `{1}` in the path. Paths start with the variable collection.
Key families: UNIFORMER_V2 section 7, MER_CLIP section 12.
"""

import re
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """How an official array becomes ours.

    The official axes `squeeze`, of length one, fall away; `axes` transposes; then axes
    of length one are put in at `expand`.
    """

    squeeze: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None
    expand: tuple[int, ...] = ()

    def to_flax(self, array: np.ndarray) -> np.ndarray:
        """The official array in our layout; ValueError when the rank is wrong."""
        kept = len(self.axes) if self.axes else array.ndim - len(self.squeeze)
        wanted = kept + len(self.squeeze)
        if array.ndim != wanted:
            raise ValueError(f"expected {wanted} axes, got shape {array.shape}")
        array = np.squeeze(array, self.squeeze) if self.squeeze else array
        array = array.transpose(self.axes) if self.axes else array
        return np.expand_dims(array, self.expand) if self.expand else array

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Our array in the official layout: the exact inverse of `to_flax`."""
        array = np.squeeze(array, self.expand) if self.expand else array
        array = array.transpose(np.argsort(self.axes)) if self.axes else array
        return np.expand_dims(array, self.squeeze) if self.squeeze else array


SAME = Layout()
LINEAR = Layout(axes=(1, 0))  # (out, in) -> (in, out)
TUBELET = Layout(axes=(2, 3, 4, 1, 0))  # (out, in, t, h, w) -> (t, h, w, in, out)
PATCH = Layout(axes=(2, 3, 1, 0), expand=(0,))  # (out, in, h, w) -> (1, h, w, in, out)
POINTWISE = Layout(squeeze=(2, 3, 4), axes=(1, 0))  # (out, in, 1, 1, 1) -> (in, out)
TEMPORAL = Layout(squeeze=(1, 3, 4), axes=(1, 0))  # (r, 1, 3, 1, 1) -> (3, r)
DEPTHWISE = Layout(squeeze=(1,), axes=(1, 2, 3, 0))  # (d, 1, t, h, w) -> (t, h, w, d)
QUERY = Layout(squeeze=(0, 1))  # (1, 1, d) -> (d,)

Rule = tuple[str, str, Layout]


def _norm(key: str, path: str) -> list[Rule]:
    return [
        (rf"{key}\.weight", f"params/{path}/scale", SAME),
        (rf"{key}\.bias", f"params/{path}/bias", SAME),
    ]


def _linear(key: str, path: str) -> list[Rule]:
    return [
        (rf"{key}\.weight", f"params/{path}/kernel", LINEAR),
        (rf"{key}\.bias", f"params/{path}/bias", SAME),
    ]


def _packed_attention(key: str, path: str) -> list[Rule]:
    return [
        (rf"{key}\.in_proj_weight", f"params/{path}/in_proj_kernel", LINEAR),
        (rf"{key}\.in_proj_bias", f"params/{path}/in_proj_bias", SAME),
        *_linear(rf"{key}\.out_proj", f"{path}/out_proj"),
    ]


def _mlp(key: str, path: str) -> list[Rule]:
    return [
        *_linear(rf"{key}\.c_fc", f"{path}/c_fc"),
        *_linear(rf"{key}\.c_proj", f"{path}/c_proj"),
    ]


def _prefixed(rules: list[Rule], key: str, path: str) -> list[Rule]:
    """The rules under an official key prefix and a Flax module path."""
    moved = []
    for pattern, target, layout in rules:
        collection, rest = target.split("/", 1)
        moved.append((key + pattern, f"{collection}/{path}{rest}", layout))
    return moved


_BLOCK = r"transformer\.resblocks\.(\d+)"
_MIXER = rf"{_BLOCK}\.lmhra(\d)\.pos_embed"
_MIXER_PATH = "block_{0}/lmhra{1}"
_GLOBAL = r"transformer\.dec\.(\d+)"

ENCODER: list[Rule] = [
    ("class_embedding", "params/class_embedding", SAME),
    ("positional_embedding", "params/positional_embedding", SAME),
    (r"conv1\.weight", "params/patch_embed/kernel", TUBELET),
    *_norm("ln_pre", "ln_pre"),
    (r"transformer\.temporal_cls_token", "params/temporal_cls_token", QUERY),
    (r"transformer\.balance", "params/balance", SAME),
    *_norm(rf"{_MIXER}\.0", f"{_MIXER_PATH}/bn"),
    (rf"{_MIXER}\.0\.running_mean", f"batch_stats/{_MIXER_PATH}/bn/mean", SAME),
    (rf"{_MIXER}\.0\.running_var", f"batch_stats/{_MIXER_PATH}/bn/var", SAME),
    (rf"{_MIXER}\.1\.weight", f"params/{_MIXER_PATH}/reduce/kernel", POINTWISE),
    (rf"{_MIXER}\.1\.bias", f"params/{_MIXER_PATH}/reduce/bias", SAME),
    (rf"{_MIXER}\.2\.weight", f"params/{_MIXER_PATH}/kernel", TEMPORAL),
    (rf"{_MIXER}\.2\.bias", f"params/{_MIXER_PATH}/bias", SAME),
    (rf"{_MIXER}\.3\.weight", f"params/{_MIXER_PATH}/expand/kernel", POINTWISE),
    (rf"{_MIXER}\.3\.bias", f"params/{_MIXER_PATH}/expand/bias", SAME),
    *_packed_attention(rf"{_BLOCK}\.attn", "block_{0}/attn"),
    *_norm(rf"{_BLOCK}\.ln_1", "block_{0}/ln_1"),
    *_norm(rf"{_BLOCK}\.ln_2", "block_{0}/ln_2"),
    *_mlp(rf"{_BLOCK}\.mlp", "block_{0}/mlp"),
    (r"transformer\.dpe\.(\d+)\.weight", "params/global_{0}/dpe_kernel", DEPTHWISE),
    (r"transformer\.dpe\.(\d+)\.bias", "params/global_{0}/dpe_bias", SAME),
    *_packed_attention(rf"{_GLOBAL}\.attn", "global_{0}/attn"),
    *_norm(rf"{_GLOBAL}\.ln_1", "global_{0}/ln_1"),
    *_norm(rf"{_GLOBAL}\.ln_2", "global_{0}/ln_2"),
    *_norm(rf"{_GLOBAL}\.ln_3", "global_{0}/ln_3"),
    *_mlp(rf"{_GLOBAL}\.mlp", "global_{0}/mlp"),
]

UNIFORMER_V2_CLASSIFIER: list[Rule] = [
    *_prefixed(ENCODER, "", "encoder/"),
    *_norm(r"transformer\.proj\.0", "encoder/norm"),
    *_linear(r"transformer\.proj\.2", "classifier"),
]

MER_CLIP: list[Rule] = [
    ("logit_scale", "params/logit_scale", SAME),
    *_prefixed(ENCODER, r"vision_encoder\.", "encoder/"),
    *_norm(r"vision_encoder\.transformer\.norm", "encoder/norm"),
    (r"vision_encoder\.proj", "params/video_projection", SAME),
    *_norm(r"vision_encoder\.ln_post1", "video_norm"),
    *_norm(r"vision_encoder\.ln_final", "head_norm"),
    (
        r"vision_encoder\.to_cls_decoder\.weight",
        "params/head_projection/kernel",
        LINEAR,
    ),
    *_norm(r"cls_head\.blocks\.(\d+)\.norm", "head/block_{0}/norm"),
    *_norm(r"cls_head\.blocks\.(\d+)\.norm_ffn", "head/block_{0}/norm_mlp"),
    *_linear(r"cls_head\.blocks\.(\d+)\.attn\.to_qkv", "head/block_{0}/attn/qkv"),
    *_linear(r"cls_head\.blocks\.(\d+)\.attn\.proj", "head/block_{0}/attn/proj"),
    *_linear(r"cls_head\.blocks\.(\d+)\.ffn\.net\.0", "head/block_{0}/mlp/c_fc"),
    *_linear(r"cls_head\.blocks\.(\d+)\.ffn\.net\.3", "head/block_{0}/mlp/c_proj"),
    *_norm(r"cls_head\.norm", "head/norm"),
    *_linear(r"cls_head\.fc_cls", "head/classifier"),
]

CLIP_TEXT: list[Rule] = [
    ("positional_embedding", "params/positional_embedding", SAME),
    (r"token_embedding\.weight", "params/token_embedding", SAME),
    ("text_projection", "params/text_projection", SAME),
    *_norm("ln_final", "ln_final"),
    *_packed_attention(rf"{_BLOCK}\.attn", "block_{0}/attn"),
    *_norm(rf"{_BLOCK}\.ln_1", "block_{0}/ln_1"),
    *_norm(rf"{_BLOCK}\.ln_2", "block_{0}/ln_2"),
    *_mlp(rf"{_BLOCK}\.mlp", "block_{0}/mlp"),
]

# CLIP's image tower, as OpenAI and open_clip name it; one tap of time.
CLIP_VISUAL: list[Rule] = [
    ("class_embedding", "params/encoder/class_embedding", SAME),
    ("positional_embedding", "params/encoder/positional_embedding", SAME),
    (r"conv1\.weight", "params/encoder/patch_embed/kernel", PATCH),
    *_norm("ln_pre", "encoder/ln_pre"),
    *_norm("ln_post", "encoder/ln_post"),
    *_prefixed(
        [
            *_packed_attention(rf"{_BLOCK}\.attn", "block_{0}/attn"),
            *_norm(rf"{_BLOCK}\.ln_1", "block_{0}/ln_1"),
            *_norm(rf"{_BLOCK}\.ln_2", "block_{0}/ln_2"),
            *_mlp(rf"{_BLOCK}\.mlp", "block_{0}/mlp"),
        ],
        "",
        "encoder/",
    ),
]

# Hugging Face's names as OpenAI's; q, k and v are packed apart from this table.
HUGGING_FACE: list[tuple[str, str]] = [
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
    (
        r"text_model\.embeddings\.position_embedding\.weight",
        "positional_embedding",
    ),
    (r"text_model\.final_layer_norm\.(weight|bias)", "ln_final.{0}"),
    *(
        rule
        for tower, ours in (("vision_model", "visual."), ("text_model", ""))
        for layer in (rf"{tower}\.encoder\.layers\.(\d+)",)
        for block in (ours + "transformer.resblocks.{0}",)
        for rule in (
            (rf"{layer}\.layer_norm([12])\.(weight|bias)", block + ".ln_{1}.{2}"),
            (rf"{layer}\.mlp\.fc1\.(weight|bias)", block + ".mlp.c_fc.{1}"),
            (rf"{layer}\.mlp\.fc2\.(weight|bias)", block + ".mlp.c_proj.{1}"),
            (
                rf"{layer}\.self_attn\.out_proj\.(weight|bias)",
                block + ".attn.out_proj.{1}",
            ),
            (
                rf"{layer}\.self_attn\.([qkv])_proj\.(weight|bias)",
                block + ".attn.in_proj_{2}",
            ),
        )
    ),
]


def under(key: str, rules: list[Rule]) -> list[Rule]:
    """The rules for keys with a prefix, such as "text_encoder."."""
    return _prefixed(rules, re.escape(key), "")


# Counters that torch keeps and no computation reads.
IGNORED = re.compile(r".*\.num_batches_tracked")
