"""Where the decoded clips live: all on the device, or streamed from the host."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from merclip_jax import processes
from merclip_jax.data.clips import RESIDENCIES, Clips, DataOptions
from merclip_jax.data.gather import shelf
from merclip_jax.data.threads import in_order
from merclip_jax.typing import Array, Leaf

DEVICE_SHARE = 0.25  # of a device's memory that "auto" gives to the clips
HOST_LIMIT = 2 * 2**30  # the same where the device does not tell its memory (CPU)


class ClipStore:
    """Frames of clips by index; only the store knows where they are.

    `put` sends to the devices what they lack of some clips, and `data.gather`, inside
    the step, makes frames of it together with `held`. On the device, what is sent are
    row numbers and every frame that may be asked for is held; on the host, what is sent
    are the frames themselves, decoded when they are asked for. Both give the same bits.
    Of several processes each decodes all clips that are held, as every device holds
    them; of what is sent it decodes what its own devices take.

    Args:
        clips: all of the dataset.
        residency: "device", "host", or "auto" by size.
        threads: that decode; None for one a core.
    """

    def __init__(
        self,
        clips: Clips,
        *,
        residency: str = DataOptions.residency,
        threads: int | None = None,
    ):
        if residency not in RESIDENCIES:
            raise ValueError(
                f"residency={residency!r}: expected one of {list(RESIDENCIES)}"
            )
        self.clips = clips
        # Decoding is OpenCV's, which lets other threads run meanwhile.
        self._threads = ThreadPoolExecutor(threads or os.cpu_count(), "decode")
        n, t = clips.positions.shape
        lengths = clips.spans[:, 1] - clips.spans[:, 0] + 1
        # Where training draws frames anew, any frame of onset..offset may come.
        sizes = lengths if clips.view.drawn else np.full(n, t)
        self._starts = np.cumsum(sizes) - sizes  # where each clip's frames begin
        if residency == "auto":
            needed = int(sizes.sum()) * int(np.prod(clips.view.shape[1:]))
            room = min(processes.gathered(_room()))
            residency = "device" if needed <= room else "host"
        self._frames = None
        # uint8 rows, a clip's frames one after another: a quarter of float32.
        if residency == "device":
            frames = self._decode_all(sizes, threads)
            frames = frames.reshape(shelf(len(frames), frames.shape[1:]))
            # Several processes make an array of all from the host's.
            self._frames = frames if processes.many() else jnp.asarray(frames)

    def held(self, sharding: Sharding) -> Array:
        """What lies on the devices for good: frames as `shelf` says, or nothing [0]."""
        frames = np.zeros(0, np.uint8) if self._frames is None else self._frames
        return put(frames, sharding)

    def put(
        self, index: np.ndarray, positions: np.ndarray | None, sharding: Sharding
    ) -> Array:
        """Send what the devices lack of clips [...] to where `sharding` says.

        Args:
            index: clips, any leading axes.
            positions: [..., t] frames of each, None for those of a test.
            sharding: of the leading axes.

        Returns what `data.gather` makes frames of.
        """
        return _assembled(index, self._parts(index, positions, sharding), sharding)

    def ahead(
        self, batches: grain.MapDataset, sharding: Sharding
    ) -> Iterator[tuple[np.ndarray, Array]]:
        """Yields (index, what `put` returns) in order, looked up ahead in threads.

        Of clips on the host only the frames that are asked for are decoded.

        Args:
            batches: (index, positions) elements.
            sharding: of the index's axes.
        """
        # Two dispatches ahead: what they decode is shared out over all cores.
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
        found = batches.map(lambda x: (x[0], self._parts(*x, sharding)))
        # The next one is on its way to the device while this one is trained on.
        waiting = None
        for index, parts in found.to_iter_dataset(options):
            sent = index, _assembled(index, parts, sharding)
            if waiting is not None:
                yield waiting
            waiting = sent
        if waiting is not None:
            yield waiting

    @property
    def held_shape(self) -> jax.ShapeDtypeStruct:
        """Shape of what `held` returns."""
        if self._frames is None:
            return jax.ShapeDtypeStruct((0,), jnp.uint8)
        return jax.ShapeDtypeStruct(self._frames.shape, self._frames.dtype)

    @property
    def sent_shape(self) -> jax.ShapeDtypeStruct:
        """Shape of what `put` sends of one clip."""
        t, *picture = self.clips.view.shape
        if self._frames is None:
            return jax.ShapeDtypeStruct((t, *picture), jnp.uint8)
        return jax.ShapeDtypeStruct((t,), jnp.int32)

    def _parts(
        self, index: np.ndarray, positions: np.ndarray | None, sharding: Sharding
    ) -> dict[str, np.ndarray]:
        """What `put` sends, in the parts that the devices of this process take."""
        found: dict[str, np.ndarray] = {}
        seen: dict[tuple, np.ndarray] = {}
        places = sharding.addressable_devices_indices_map(index.shape)
        for place in places.values():
            if str(place) not in found:
                asked = None if positions is None else positions[place]
                found[str(place)] = self._find(np.asarray(index[place]), asked, seen)
        return found

    def _find(
        self, index: np.ndarray, positions: np.ndarray | None, seen: dict
    ) -> np.ndarray:
        """Row numbers int32 [..., t], or the frames [..., t, h, w, c] themselves."""
        asked = self.clips.positions[index] if positions is None else positions
        if self._frames is None:
            return self._decode(index, asked, seen)
        if self.clips.view.drawn:
            within = asked - self.clips.spans[index][..., :1]
        else:
            within = np.broadcast_to(np.arange(asked.shape[-1]), asked.shape)
        return (self._starts[index][..., None] + within).astype(np.int32)

    def _decode_all(self, sizes: np.ndarray, threads: int | None) -> np.ndarray:
        frames = None

        def decode(i: int) -> np.ndarray:
            first, last = self.clips.spans[i]
            every = np.arange(first, last + 1) if self.clips.view.drawn else None
            return self.clips.decode(i, every)

        clips = in_order(decode, len(sizes), says="decoding clips", threads=threads)
        for i, decoded in enumerate(clips):
            if frames is None:
                shape = (int(sizes.sum()), *decoded.shape[1:])
                frames = np.empty(shape, decoded.dtype)
            frames[self._starts[i] : self._starts[i] + sizes[i]] = decoded
        return frames

    def _decode(
        self, index: np.ndarray, positions: np.ndarray, seen: dict[tuple, np.ndarray]
    ) -> np.ndarray:
        """Every different clip of a batch is decoded once, and then in `seen`."""
        t = positions.shape[-1]
        asked = [
            (i, tuple(row))
            for i, row in zip(
                index.reshape(-1).tolist(),
                positions.reshape(-1, t).tolist(),
                strict=True,
            )
        ]
        lacking = [one for one in dict.fromkeys(asked) if one not in seen]
        decoded = self._threads.map(
            lambda one: self.clips.decode(one[0], np.asarray(one[1])), lacking
        )
        seen |= zip(lacking, decoded, strict=True)
        clips = np.stack([seen[one] for one in asked])
        return clips.reshape(*index.shape, *clips.shape[1:])


def put(tree: Leaf, sharding: Sharding) -> Leaf:
    """Arrays of the host on devices; each process sends to its own.

    Args:
        tree: of the same arrays in all processes.
        sharding: of each.
    """
    if not processes.many():
        return jax.device_put(tree, sharding)

    def send(leaf: Array) -> Array:
        # device_put would compare the arrays of all processes, over the network.
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(
            whole.shape, sharding, lambda place: whole[place]
        )

    return jax.tree.map(send, tree)


def _assembled(
    index: np.ndarray, parts: Mapping[str, np.ndarray], sharding: Sharding
) -> Array:
    """An array of the parts of a batch [...], each sent to the devices that take it."""
    places = sharding.addressable_devices_indices_map(index.shape)
    sent = jax.device_put([parts[str(p)] for p in places.values()], list(places))
    some = next(iter(parts.values()))
    shape = (*index.shape, *some.shape[index.ndim :])
    return jax.make_array_from_single_device_arrays(shape, sharding, sent)


def _room() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return int(limit * DEVICE_SHARE) if limit else HOST_LIMIT
