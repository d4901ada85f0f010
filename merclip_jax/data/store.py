"""Where the decoded clips live: all on the device, or streamed from the host."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from merclip_jax.data.source import Clips

DEVICE_SHARE = 0.25  # of a device's memory that "auto" gives to the clips
HOST_LIMIT = 2 * 2**30  # the same where the device does not tell its memory (CPU)


class ClipStore:
    """Frames of clips by index. `residency`: "device", "host" or "auto" (by size).

    On the device every frame that training may ask for is decoded once: `resident`,
    uint8 [f, h, w, 3]. On the host every batch is decoded when it is asked for, ahead
    of time and in threads; `resident` is None. Both give the same bits.
    """

    def __init__(self, clips: Clips, *, residency: str = "auto"):
        if residency not in ("device", "host", "auto"):
            raise ValueError(f"residency must be device, host or auto: {residency!r}")
        self.clips = clips
        n, t = clips.positions.shape
        lengths = clips.spans[:, 1] - clips.spans[:, 0] + 1
        sizes = lengths if clips.drawn else np.full(n, t)
        self.starts = np.cumsum(sizes) - sizes  # where each clip's frames begin
        if residency == "auto":
            needed = int(sizes.sum()) * int(np.prod(clips.shape[1:]))
            residency = "device" if needed <= _room() else "host"
        self.residency = residency
        self.resident = None
        if residency == "device":
            frames = None
            for i in tqdm(range(n), desc="decoding clips", leave=False):
                decoded = clips.decode(i, self._stored(i))
                if frames is None:
                    shape = (int(sizes.sum()), *clips.shape[1:])
                    frames = np.empty(shape, decoded.dtype)
                frames[self.starts[i] : self.starts[i] + sizes[i]] = decoded
            self.resident = jnp.asarray(frames)

    def frames(
        self, index: np.ndarray, positions: np.ndarray | None = None
    ) -> np.ndarray:
        """What `Programs.place` turns into clips: rows of `resident`, or the clips.

        index: [...] clips; positions: [..., t] their frames, by default the test's.
        Returns int32 [..., t] or uint8 [..., t, h, w, 3].
        """
        asked = self.clips.positions[index] if positions is None else positions
        if self.resident is None:
            return self._decoded(index, asked)
        if self.clips.drawn:
            within = asked - self.clips.spans[index][..., :1]
        else:
            within = np.broadcast_to(np.arange(asked.shape[-1]), asked.shape)
        return (self.starts[index][..., None] + within).astype(np.int32)

    def ahead(self, batches: grain.MapDataset) -> grain.IterDataset:
        """(indices, `frames`) of every element of `batches`, decoded in threads."""
        options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=4)
        return batches.map(lambda x: (x[0], self.frames(*x))).to_iter_dataset(options)

    def _stored(self, i: int) -> np.ndarray:
        first, last = self.clips.spans[i]
        return (
            np.arange(first, last + 1) if self.clips.drawn else self.clips.positions[i]
        )

    def _decoded(self, index: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Every different clip of a batch is decoded once."""
        t = positions.shape[-1]
        asked = [
            (i, tuple(row))
            for i, row in zip(
                index.reshape(-1).tolist(),
                positions.reshape(-1, t).tolist(),
                strict=True,
            )
        ]
        decoded = {
            (i, row): self.clips.decode(i, np.asarray(row)) for i, row in set(asked)
        }
        clips = np.stack([decoded[one] for one in asked])
        return clips.reshape(*index.shape, *clips.shape[1:])


def _room() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return int(limit * DEVICE_SHARE) if limit else HOST_LIMIT
