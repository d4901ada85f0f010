"""Rules: official key names, their Flax paths and the change of layout.

A rule is (regular expression of the official key, Flax path, layout). Groups of the
expression fill `{0}`, `{1}` in the path. Paths start with the variable collection.
Tables of rules stand in the families' files; here is what they are made of.
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


# torch's layers keep (out, in, ...), Flax's (..., in, out).
SAME = Layout()
LINEAR = Layout(axes=(1, 0))  # (out, in) -> (in, out)
TUBELET = Layout(axes=(2, 3, 4, 1, 0))  # (out, in, t, h, w) -> (t, h, w, in, out)
PATCH = Layout(axes=(2, 3, 1, 0), expand=(0,))  # (out, in, h, w) -> (1, h, w, in, out)
POINTWISE = Layout(squeeze=(2, 3, 4), axes=(1, 0))  # (out, in, 1, 1, 1) -> (in, out)
TEMPORAL = Layout(squeeze=(1, 3, 4), axes=(1, 0))  # (r, 1, 3, 1, 1) -> (3, r)
DEPTHWISE = Layout(squeeze=(1,), axes=(1, 2, 3, 0))  # (d, 1, t, h, w) -> (t, h, w, d)
QUERY = Layout(squeeze=(0, 1))  # (1, 1, d) -> (d,)

Rule = tuple[str, str, Layout]
Why = tuple[str, str]  # (regular expression of keys or paths, the reason)

# Counters that torch keeps and no computation reads.
IGNORED = re.compile(r".*\.num_batches_tracked")
BLOCK = r"transformer\.resblocks\.(\d+)"  # CLIP's name, which all families keep


def norm(key: str, path: str) -> list[Rule]:
    """The rules of a LayerNorm, or of the affine part of a BatchNorm."""
    return _layer(key, path, "scale", SAME)


def linear(key: str, path: str) -> list[Rule]:
    """The rules of a linear layer."""
    return _layer(key, path, "kernel", LINEAR)


def _layer(key: str, path: str, weight: str, layout: Layout) -> list[Rule]:
    """Rules of torch's `weight` and `bias`.

    Args:
        key: the layer's, a regular expression.
        path: of the Flax module.
        weight: what Flax calls the weight.
        layout: of the weight.
    """
    return [
        (rf"{key}\.weight", f"params/{path}/{weight}", layout),
        (rf"{key}\.bias", f"params/{path}/bias", SAME),
    ]


def block(key: str, path: str) -> list[Rule]:
    """The rules of one of CLIP's blocks: q, k and v packed in one projection.

    Args:
        key: the block's, a regular expression.
        path: of the Flax module.

    Returns:
        A rule for each array.
    """
    return [
        (rf"{key}\.attn\.in_proj_weight", f"params/{path}/attn/in_proj_kernel", LINEAR),
        (rf"{key}\.attn\.in_proj_bias", f"params/{path}/attn/in_proj_bias", SAME),
        *linear(rf"{key}\.attn\.out_proj", f"{path}/attn/out_proj"),
        *norm(rf"{key}\.ln_1", f"{path}/ln_1"),
        *norm(rf"{key}\.ln_2", f"{path}/ln_2"),
        *linear(rf"{key}\.mlp\.c_fc", f"{path}/mlp/c_fc"),
        *linear(rf"{key}\.mlp\.c_proj", f"{path}/mlp/c_proj"),
    ]


def prefixed(rules: list[Rule], *, key: str = "", path: str = "") -> list[Rule]:
    """Rules under a prefix of the official keys and a Flax module.

    Args:
        rules: the rules without it.
        key: what the keys begin with, such as "text_encoder.".
        path: the module, such as "encoder/".

    Returns:
        The same rules, moved there.
    """
    moved = []
    for pattern, target, layout in rules:
        collection, rest = target.split("/", 1)
        moved.append((re.escape(key) + pattern, f"{collection}/{path}{rest}", layout))
    return moved
