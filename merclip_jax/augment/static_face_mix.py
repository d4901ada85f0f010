"""LocalStaticFaceMix: a region of a partner's still face blended into a clip."""

import jax.numpy as jnp

from merclip_jax.typing import Array, Bool, Float, Int, Shaped

REGIONS = ("forehead", "chin", "left_cheek", "right_cheek")


def region_masks(height: int, width: int) -> Bool[Array, "4 h w"]:
    """Masks of forehead, chin, left cheek, right cheek; they tile the image (7.5)."""
    rows, cols = jnp.arange(height)[:, None], jnp.arange(width)[None]
    top, bottom, middle = height // 4, 3 * height // 4, width // 2
    cheeks = (rows >= top) & (rows < bottom)
    return jnp.stack(
        [
            (rows < top) & (cols >= 0),
            (rows >= bottom) & (cols >= 0),
            cheeks & (cols < middle),
            cheeks & (cols >= middle),
        ]
    )


def static_face_mix(
    clips: Float[Array, "b t h w c"],
    chosen: Bool[Array, "b"],
    partner: Int[Array, "b"],
    region: Int[Array, "b"],
    *,
    weight: float = 0.5,
    inverse: bool = False,
    masks: Shaped[Array, "..."] | None = None,
) -> Float[Array, "b t h w c"]:
    """LocalStaticFaceMix: blends one region with a partner's first frame (eq 1).

    Inside the region of a chosen clip every frame is weight x own + (1 - weight) x
    frame 0 of the unmixed partner clip; all else stays bit-identical. `inverse` mixes
    everywhere but in the region. `masks` are the regions, bool [r, h, w]; None: the
    paper's four. Raises ValueError when they do not fit the frames.
    """
    size = clips.shape[2:4]
    masks = region_masks(*size) if masks is None else masks
    if masks.ndim != 3 or masks.shape[1:] != size or masks.dtype != bool:
        raise ValueError(
            f"expected masks as bool [regions, {size[0]}, {size[1]}] for clips "
            f"{list(clips.shape)}, got {masks.dtype} {list(masks.shape)}"
        )
    masks = (masks[region] != inverse) & chosen[:, None, None]
    onset = clips[partner, :1]
    mixed = weight * clips + (1 - weight) * onset
    return jnp.where(masks[:, None, :, :, None], mixed, clips)
