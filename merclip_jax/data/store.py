"""Where the decoded clips live: all on the device, or streamed from the host."""

from collections.abc import Iterator

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

    On the device the whole set is decoded once, as uint8; on the host every batch is
    decoded when it is asked for, ahead of time and in threads. Both give the same
    bits.
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

    def fetch(self, index: np.ndarray) -> jax.Array:
        """Clips uint8 [..., t, h, w, 3] of an index array [...]."""
        if self.resident is not None:
            return self.resident[jnp.asarray(index)]
        flat = index.reshape(-1)
        decoded = {i: self.clips.decode(i) for i in np.unique(flat)}
        clips = np.stack([decoded[i] for i in flat])
        return jnp.asarray(clips.reshape(*index.shape, *clips.shape[1:]))

    def stream(
        self, batches: grain.MapDataset
    ) -> Iterator[tuple[np.ndarray, jax.Array]]:
        """(indices, clips) of every element, in order."""
        if self.resident is not None:
            return ((index, self.fetch(index)) for index in batches)
        options = grain.ReadOptions(num_threads=8, prefetch_buffer_size=2)
        fetched = batches.map(lambda index: (index, np.asarray(self.fetch(index))))
        ahead = fetched.to_iter_dataset(options)
        return ((index, jnp.asarray(clips)) for index, clips in ahead)


def _room() -> float:
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return limit * DEVICE_SHARE if limit else HOST_LIMIT
