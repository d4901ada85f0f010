"""LocalStaticFaceMix: a region of a partner's still face blended into a clip."""

import jax.numpy as jnp

from merclip_jax.typing import Array, Bool, Float, Int

REGIONS = ("forehead", "chin", "left_cheek", "right_cheek")


def region_masks(height: int, width: int) -> Bool[Array, "4 h w"]:
    """Returns the masks of REGIONS, which tile the image (released code).

    Args:
        height, width: of a frame in pixels; left is the picture's left.
    """
    # Fixed quarters stand for regions of the face: clips are aligned when they come.
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
    weight: float,
    inverse: bool = False,
) -> Float[Array, "b t h w c"]:
    """Returns the clips, one region of each chosen one blended (MER-CLIP, eq. 1).

    Inside its region every frame is weight x own + (1 - weight) x frame 0 of the
    partner; all else stays bit-identical.

    Args:
        clips: normalised or not.
        chosen: which clips to blend.
        partner: index in the batch of the clip to blend with.
        region: index in REGIONS.
        weight: of the clip's own pixels, 0..1.
        inverse: blend everywhere but in the region.
    """
    masks = (region_masks(*clips.shape[2:4])[region] != inverse) & chosen[:, None, None]
    # A still face adds another identity and no motion of its own. Partners are taken
    # before any clip is mixed, so that the order of clips does not matter.
    # Only frame 0 of a partner is brought here: it may be on another device.
    onset = clips[:, :1][partner]
    mixed = weight * clips + (1 - weight) * onset
    return jnp.where(masks[:, None, :, :, None], mixed, clips)
