"""Frames of a batch inside a step, wherever the clips live."""

import math

from merclip_jax.typing import Array, Int, Num, Shaped

LANES = 128  # of a TPU's vector: its arrays are laid out by so many values


def shelf(frames: int, picture: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape in which frames are held: each a block of its own.

    A device would lay [f, h, w, 3] out anew at every call, a second copy of all clips:
    it likes neither axes of 3 nor neighbours that it reads apart.

    Args:
        frames: f.
        picture: h, w, c of one.
    """
    size = math.prod(picture)
    lanes = LANES if size % LANES == 0 else size
    return frames, size // lanes, lanes


def gather(
    held: Shaped[Array, "..."],
    sent: Int[Array, "..."] | Num[Array, "..."],
    picture: tuple[int, ...],
) -> Num[Array, "... t h w c"]:
    """Frames of clips, of what lies on the device and what was sent there.

    Args:
        held: every frame that may be asked for, as `shelf` says; or nothing, [0].
        sent: rows of `held` [..., t]; or, where nothing is held, the frames themselves.
        picture: h, w, c of a frame.
    """
    if held.ndim == 1:
        return sent
    return held[sent].reshape(*sent.shape, *picture)
