"""What a system sees of a clip: how many frames, which ones, how large."""

import dataclasses
from typing import Annotated

import numpy as np

from merclip_jax.data import sampling
from merclip_jax.declared import OneOf, Range, check

# Each way to choose frames, and what an annotator must have given for it. The result
# card prints the second: a score that needs the apex cannot be had on a new video.
CONTRACTS = {
    "keyframes": "oracle-keyframes",
    "keyframes_integer": "oracle-keyframes",
    "uniform": "onset-offset",
    "stride": "onset-offset",
    "onset_apex": "oracle-keyframes",
    "window": "raw-window",
}
ALIGNMENTS = ("", "frame")
NO_FLOW = 128  # in the channels of a flow, where nothing moves


@dataclasses.dataclass(frozen=True)
class View:
    """A system's input: it gives decoding, the size of the store and the contract.

    frames: how many of a clip; image_size: height and width in pixels; resize: short
    side in pixels before the centre crop, 0 for the image size; grey: one channel, not
    three; sampling: a key of CONTRACTS; seconds: of a window, which is the input of
    sampling "window" alone; align: "frame" cuts the face out of each frame
    by that frame's own landmarks, "" takes the picture as it is; flow: of onset and
    apex one picture of the motion between them. Raises ValueError for values that
    cannot be.
    """

    frames: Annotated[int, Range(1, 256)] = sampling.FRAMES
    image_size: Annotated[int, Range(1, 2048)] = 224
    resize: Annotated[int, Range(0, 4096)] = 0
    grey: bool = False
    sampling: Annotated[str, OneOf(CONTRACTS)] = "keyframes"
    seconds: Annotated[float, Range(0.05, 10)] = 0.5
    align: Annotated[str, OneOf(ALIGNMENTS)] = ""
    flow: bool = False

    def __post_init__(self):
        check(self)
        # Onset, apex and offset are kept, so there must be room for three.
        if self.frames < 3 and self.sampling.startswith("keyframes"):
            raise ValueError(f"frames={self.frames}: expected 3 or more key frames")
        if self.frames != 2 and self.sampling == "onset_apex":
            raise ValueError(f"frames={self.frames}: onset and apex are 2 frames")
        if self.resize and self.resize < self.image_size:
            raise ValueError(
                f"resize={self.resize}: cannot crop {self.image_size} pixels from it"
            )
        if self.resize and self.align:
            raise ValueError(
                f"resize={self.resize}: with align={self.align!r} the face fills "
                f"{self.image_size} pixels, and nothing is left to crop"
            )
        if self.flow and (self.grey or self.sampling != "onset_apex"):
            raise ValueError(
                f"flow=True: expected sampling='onset_apex' and grey=False, found "
                f"{self.sampling!r} and {self.grey}"
            )

    @property
    def contract(self) -> str:
        """What a clip must come with: key frames, onset and offset, or nothing."""
        return CONTRACTS[self.sampling]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(t, h, w, c) of a decoded clip; a flow is one picture."""
        frames = 1 if self.flow else self.frames
        return frames, self.image_size, self.image_size, 1 if self.grey else 3

    @property
    def least(self) -> int:
        """How many frames a clip must have, from onset to offset."""
        return self.frames if self.sampling == "stride" else 1

    @property
    def drawn(self) -> bool:
        """Whether training draws the frames anew at every step."""
        return self.sampling in ("uniform", "window")

    def positions(
        self,
        onset: int,
        apex: int,
        offset: int,
        *,
        fps: float,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Positions int64 [t] of the frames that are seen, in onset..offset.

        Of a flow it is the apex alone, to which the flow leads from the onset.

        Args:
            onset: position of the first frame of the expression; of a window that of
                the record.
            apex: of the strongest.
            offset: of the last.
            fps: frames a second; a window's length is in seconds.
            rng: draws those of a training step; None gives those of a test. Only
                uniform sampling and windows make a difference between the two.

        Raises:
            ValueError: the clip is shorter than `least`.
        """
        if self.sampling == "onset_apex":
            both = sampling.onset_apex(onset, apex, offset)
            return both[1:] if self.flow else both
        if self.sampling == "stride":
            return onset + sampling.strided_frames(offset - onset + 1, self.frames)
        length = offset - onset + 1
        if self.sampling == "window":
            within = max(1, round(self.seconds * fps))
            return onset + sampling.window_frames(length, within, self.frames, rng=rng)
        if self.sampling == "uniform":
            return onset + sampling.uniform_frames(length, self.frames, rng=rng)
        strides = "integer" if self.sampling == "keyframes_integer" else "float"
        return sampling.key_frames(onset, apex, offset, self.frames, strides=strides)
