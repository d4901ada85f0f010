"""Frames of a batch inside a step, wherever the clips live."""

from merclip_jax.typing import Array, Int, Num, Shaped


def gather(
    held: Shaped[Array, "..."], sent: Int[Array, "..."] | Num[Array, "..."]
) -> Num[Array, "... t h w c"]:
    """Frames of clips, of what lies on the device and what was sent there.

    Args:
        held: every frame that may be asked for, [f, h, w, c]; or nothing, [0].
        sent: rows of `held` [..., t]; or, where nothing is held, the frames themselves.
    """
    return sent if held.ndim == 1 else held[sent]
