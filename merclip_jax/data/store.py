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
    """Decoded clips by index. `residency`: "device", "host" or "auto" (by size).

    On the device the whole set is decoded once: `resident`, uint8 [n, t, h, w, 3]. On
    the host every batch is decoded when it is asked for, ahead of time and in threads;
    `resident` is None. Both give the same bits.
    """

    def __init__(self, clips: Clips, *, residency: str = "auto"):
        if residency not in ("device", "host", "auto"):
            raise ValueError(f"residency must be device, host or auto: {residency!r}")
        self.clips = clips
        if residency == "auto":
            size = len(clips) * int(np.prod(clips.shape))
            residency = "device" if size <= _room() else "host"
        self.residency = residency
        self.resident = None
        if residency == "device":
            bar = tqdm(range(len(clips)), desc="decoding clips", leave=False)
            self.resident = jnp.asarray(np.stack([clips.decode(i) for i in bar]))

    def decode(self, index: np.ndarray) -> np.ndarray:
        """Clips uint8 [..., t, h, w, 3] of an index array [...], decoded now."""
        flat = index.reshape(-1).tolist()
        decoded = {i: self.clips.decode(i) for i in set(flat)}
        clips = np.stack([decoded[i] for i in flat])
        return clips.reshape(*index.shape, *clips.shape[1:])

    def ahead(self, batches: grain.MapDataset) -> grain.IterDataset:
        """(indices, clips or None) of every element in order, decoded in threads."""

        def with_clips(index: np.ndarray):
            return index, None if self.resident is not None else self.decode(index)

        options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=4)
        return batches.map(with_clips).to_iter_dataset(options)


def _room() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return int(limit * DEVICE_SHARE) if limit else HOST_LIMIT
