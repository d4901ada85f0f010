"""Where an AU is seen: places on a face by its 68 landmarks, and patches under them.

Landmarks are numbered from 0 as iBUG's (0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes,
48-67 mouth), as (x, y) in pixels of the picture, whole numbers at the pixels' centres.
The table is ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from merclip_jax.typing import Array, Float, Int

POINTS = 68
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)  # as they lie in the picture


class Place(NamedTuple):
    """The middle between two landmarks, moved up by a share of the eyes' distance."""

    a: int
    b: int
    up: float = 0.0


def _at(*points: int) -> tuple[Place, ...]:
    return tuple(Place(point, point) for point in points)


def _up(*points: int) -> tuple[Place, ...]:
    return tuple(Place(point, point, 0.25) for point in points)


def _mid(*pairs: tuple[int, int]) -> tuple[Place, ...]:
    return tuple(Place(a, b) for a, b in pairs)


_EYES, _MOUTH = _at(*range(36, 48)), _at(*range(48, 68))

# Both sides of a face at once: most annotations are of both. A place is a slot that
# always means the same, also where two fall into one patch.
REGIONS: dict[int, tuple[Place, ...]] = {
    1: _at(20, 21, 22, 23) + _up(20, 21, 22, 23),
    2: _at(17, 18, 19, 24, 25, 26) + _up(18, 25),
    4: _at(19, 20, 21, 22, 23, 24, 27) + _mid((21, 22)),
    5: _at(37, 38, 43, 44) + _mid((19, 37), (24, 44)),
    6: _at(40, 41, 46, 47) + _mid((41, 48), (46, 54), (40, 31), (47, 35)),
    7: _EYES,
    9: _at(27, 28, 29, 31, 35) + _mid((21, 22), (39, 31), (42, 35)),
    10: _at(31, 33, 35, *range(49, 54)) + _mid((33, 51)),
    12: _at(48, 54, 60, 64, 49, 53) + _mid((48, 31), (54, 35)),
    14: _at(48, 54, 60, 64) + _mid((48, 4), (54, 12)),
    15: _at(48, 54, 59, 55) + _mid((48, 6), (54, 10)),
    17: _at(56, 57, 58, 7, 8, 9) + _mid((57, 8)),
    20: _MOUTH,
    23: _MOUTH,
    24: _MOUTH,
    25: _MOUTH,
    26: _MOUTH + _at(7, 8, 9),
    45: _EYES,
}


def slots(aus: tuple[int, ...]) -> np.ndarray:
    """Bool [n, k]: which slots each AU has; k are those of the largest region.

    Args:
        aus: n AUs of REGIONS.

    Raises:
        ValueError: lists AUs that have no region.
    """
    if unknown := [au for au in aus if au not in REGIONS]:
        raise ValueError(
            f"aus: no region for {unknown}; expected some of {list(REGIONS)}"
        )
    sizes = np.asarray([len(REGIONS[au]) for au in aus])
    return np.arange(sizes.max()) < sizes[:, None]


def places(
    landmarks: Float[Array, "b 68 2"], aus: tuple[int, ...]
) -> Float[Array, "b n k 2"]:
    """Where the slots of some AUs lie on faces; the point (0, 0) pads.

    Args:
        landmarks: in pixels.
        aus: n AUs of REGIONS.

    Raises:
        ValueError: lists AUs that have no region.
    """
    mask = slots(aus)
    n, k = mask.shape
    half, lift = np.zeros((n, k, POINTS), np.float32), np.zeros((n, k), np.float32)
    for i, au in enumerate(aus):
        for j, place in enumerate(REGIONS[au]):
            half[i, j, place.a] += 0.5
            half[i, j, place.b] += 0.5
            lift[i, j] = place.up
    # In full: a TPU's quick product would be off by a pixel.
    found = jnp.einsum(
        "nkp,bpc->bnkc",
        jnp.asarray(half),
        landmarks,
        precision=jax.lax.Precision.HIGHEST,
    )
    # Up is square to the line between the eyes' centres, and as long.
    across = landmarks[:, _RIGHT_EYE].mean(1) - landmarks[:, _LEFT_EYE].mean(1)
    up = jnp.stack([across[:, 1], -across[:, 0]], axis=-1)
    return found + jnp.asarray(lift)[None, :, :, None] * up[:, None, None]


def regions(
    landmarks: Float[Array, "b 68 2"],
    aus: tuple[int, ...],
    *,
    patch_size: int,
    grid: tuple[int, int],
) -> tuple[Int[Array, "b n k"], np.ndarray]:
    """The patches of each AU's region.

    Args:
        landmarks: in pixels of the picture; places outside count to its border.
        aus: n AUs of REGIONS.
        patch_size: pixels of a patch's side.
        grid: rows and columns of patches.

    Returns:
        Row-major patch numbers, one a slot, 0 where an AU has fewer slots; and which
        slots it has, bool [n, k].

    Raises:
        ValueError: lists AUs that have no region.
    """
    mask = slots(aus)
    # The first patch begins half a pixel before its first pixel's centre.
    steps = (places(landmarks, aus) + 0.5) / patch_size
    steps = jnp.floor(steps).astype(jnp.int32)
    rows, columns = grid
    x, y = jnp.clip(steps[..., 0], 0, columns - 1), jnp.clip(steps[..., 1], 0, rows - 1)
    return jnp.where(jnp.asarray(mask)[None], y * columns + x, 0), mask


def on_grid(
    weights: Float[Array, "b n k"], patches: Int[Array, "b n k"], grid: tuple[int, int]
) -> Float[Array, "b n y x"]:
    """Attention over slots as a picture on the patches; slots of one patch add up.

    Args:
        weights: of each slot.
        patches: of `regions`.
        grid: rows and columns of patches.
    """
    hit = jax.nn.one_hot(patches, grid[0] * grid[1], dtype=weights.dtype)
    flat = jnp.einsum("bnk,bnkp->bnp", weights, hit)
    return flat.reshape(*flat.shape[:2], *grid)
