"""What a system sees of a clip: how many frames, which ones, how large."""

import dataclasses

import numpy as np

from merclip_jax.data import sampling

# Each way to choose frames, and what an annotator must have given for it. The result
# card prints the second: a score that needs the apex cannot be had on a new video.
CONTRACTS = {
    "keyframes": "oracle-keyframes",
    "keyframes_integer": "oracle-keyframes",
    "uniform": "onset-offset",
}


@dataclasses.dataclass(frozen=True)
class View:
    """A system's input: it gives decoding, the size of the store and the contract.

    frames: how many of a clip; image_size: height and width in pixels; resize: short
    side in pixels before the centre crop, 0 for the image size; grey: one channel, not
    three; sampling: a key of CONTRACTS. Raises ValueError for values that cannot be.
    """

    frames: int = sampling.FRAMES
    image_size: int = 224
    resize: int = 0
    grey: bool = False
    sampling: str = "keyframes"

    def __post_init__(self):
        if self.sampling not in CONTRACTS:
            raise ValueError(
                f"sampling={self.sampling!r}: expected one of {list(CONTRACTS)}"
            )
        # Onset, apex and offset are kept, so there must be room for three.
        least = 1 if self.drawn else 3
        if self.frames < least or self.image_size < 1:
            raise ValueError(
                f"frames={self.frames}, image_size={self.image_size}: expected at "
                f"least {least} and 1"
            )
        if self.resize and self.resize < self.image_size:
            raise ValueError(
                f"resize={self.resize}: cannot crop {self.image_size} pixels from it"
            )

    @property
    def contract(self) -> str:
        """What a clip must come with: "oracle-keyframes" or "onset-offset"."""
        return CONTRACTS[self.sampling]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(t, h, w, c) of a decoded clip."""
        return self.frames, self.image_size, self.image_size, 1 if self.grey else 3

    @property
    def drawn(self) -> bool:
        """Whether training draws the frames anew at every step."""
        return self.sampling == "uniform"

    def positions(
        self,
        onset: int,
        apex: int,
        offset: int,
        *,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Positions int64 [t] of the frames that are seen, in onset..offset.

        Args:
            onset: position of the first frame of the expression.
            apex: of the strongest.
            offset: of the last.
            rng: draws those of a training step; None gives those of a test. Only
                uniform sampling makes a difference between the two.
        """
        if self.drawn:
            length = offset - onset + 1
            return onset + sampling.uniform_frames(length, self.frames, rng=rng)
        strides = "integer" if self.sampling == "keyframes_integer" else "float"
        return sampling.key_frames(onset, apex, offset, self.frames, strides=strides)
