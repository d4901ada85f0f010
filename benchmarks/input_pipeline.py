"""What the host feeds: clips a second by residency, threads and dispatch.

  python -m benchmarks.input_pipeline --clips=64

Made-up clips of 224x224 pictures, encoded as the builders store them, decoded by the
store that training reads from. "host": every clip of a batch is decoded when it is
asked for; "device": all were decoded once, and row numbers are sent.
"""

import dataclasses
import os
import time

import cv2
import jax
import numpy as np
from absl import app, flags
from jax.sharding import SingleDeviceSharding

from merclip_jax import command
from merclip_jax.data.batches import member_batches, stack_batches
from merclip_jax.data.decode import decode_frame
from merclip_jax.data.store import ClipStore
from merclip_jax.data.view import View

CLIPS = flags.DEFINE_integer("clips", 64, "Different clips.")
SECONDS = flags.DEFINE_float("seconds", 10.0, "For which each row is timed.")
MEMBERS = flags.DEFINE_integer("members", 1, "Of the stack.")
BATCH = flags.DEFINE_integer("batch", 16, "Clips of a member's batch.")
STEPS = flags.DEFINE_integer("scan_steps", 8, "Steps of a dispatch.")
NEEDED = 290  # clips/s of B/16 at 45 % of an H100's matmul rate


@dataclasses.dataclass(frozen=True)
class Made:
    """Clips that look like a dataset's to the store: PNG frames in memory."""

    view: View
    frames: list[list[bytes]]

    @property
    def positions(self) -> np.ndarray:
        return np.tile(np.arange(self.view.frames), (len(self.frames), 1))

    @property
    def spans(self) -> np.ndarray:
        return np.tile([0, self.view.frames - 1], (len(self.frames), 1))

    def decode(self, index: int, positions: np.ndarray | None = None) -> np.ndarray:
        chosen = range(self.view.frames) if positions is None else positions
        frames = [
            decode_frame(
                self.frames[index][int(i)], self.view, clip=str(index), position=int(i)
            )
            for i in chosen
        ]
        return np.stack(frames)


def made(count: int) -> Made:
    """Smooth faces-like pictures with some noise, so that PNG has work to do."""
    rng = np.random.default_rng(0)
    view = View()
    clips = []
    for _ in range(count):
        base = cv2.resize(
            rng.integers(0, 256, (14, 14, 3), dtype=np.uint8),
            (view.image_size,) * 2,
            interpolation=cv2.INTER_CUBIC,
        )
        noise = rng.integers(0, 8, (view.frames, *base.shape), dtype=np.uint8)
        frames = np.minimum(base[None].astype(int) + noise, 255).astype(np.uint8)
        clips.append([cv2.imencode(".png", frame)[1].tobytes() for frame in frames])
    return Made(view, clips)


def rate(store: ClipStore) -> float:
    """Clips a second that arrive on the device."""
    here = SingleDeviceSharding(jax.devices()[0])
    n = len(store.clips.frames)
    labels, train = np.zeros(n, int), np.arange(n)
    batches = [
        member_batches(
            train,
            labels,
            lambda index, rng: store.clips.positions[index],
            seed=i,
            batch_size=BATCH.value,
        )
        for i in range(MEMBERS.value)
    ]
    endless = stack_batches(
        batches, start=0, stop=10**6 * STEPS.value, scan_steps=STEPS.value
    )
    clips, started = 0, 0.0
    for _, sent in store.ahead(endless, here):
        jax.block_until_ready(sent)
        if not started:  # what was ready when timing began does not count
            started = time.perf_counter()
            continue
        clips += STEPS.value * MEMBERS.value * BATCH.value
        if time.perf_counter() - started > SECONDS.value:
            break
    return clips / (time.perf_counter() - started)


def main(_: list[str]) -> None:
    """Print the rates, and how many cores the rate of one H100 asks for."""
    clips = made(CLIPS.value)
    size = sum(len(f) for clip in clips.frames for f in clip) / len(clips.frames)
    print(f"{size / 1e6:.2f} MB a clip, {os.cpu_count()} cores, load {os.getloadavg()}")
    for threads in sorted({1, os.cpu_count()}):
        found = rate(ClipStore(clips, residency="host", threads=threads))
        print(
            f"host, {threads} threads: {found:.1f} clips/s; {NEEDED} clips/s ask for "
            f"{NEEDED / found * threads:.1f} cores at this rate a core"
        )
    found = rate(ClipStore(clips, residency="device"))
    print(f"device: {found:.0f} clips/s ({NEEDED / found:.2%} of a step at {NEEDED})")


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
