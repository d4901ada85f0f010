"""How fast a video is looked at, end to end and by stage, and what memory it takes.

    python -m merclip_jax.predict --demo
    python -m benchmarks.video_speed [--threads=1] [--repeat=120] [--size=b16]

--threads=1 leaves OpenCV, FFmpeg and XLA one thread each, which is how py-feat's own
17.6 pictures a second on a CPU were taken; --repeat looks at the video over and over as
one long one, and prints the memory of the process as it goes; --size=b16 puts a model
of full size in the place of the demonstration's, with random weights: it takes as long.
"""

import argparse
import dataclasses
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from merclip_jax.weights.final import FinalModel


def main() -> None:
    """Prints pictures a second, seconds of each stage, and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--video", type=Path)
    parser.add_argument(
        "--threads", type=int, default=0, help="0: as many as there are"
    )
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", default="", help="of a model with random weights")
    parser.add_argument("--end", type=float, help="seconds of the video to look at")
    flags = parser.parse_args()
    if flags.threads == 1:
        # Before anything is imported that starts threads.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        os.sched_setaffinity(0, {next(iter(os.sched_getaffinity(0)))})
    _measure(flags)


def _measure(flags: argparse.Namespace) -> None:
    import cv2

    from merclip_jax.faces.detectors import DlibLandmarks
    from merclip_jax.video import demo
    from merclip_jax.video.answer import Answerer
    from merclip_jax.video.decode import Picture, Video
    from merclip_jax.video.look import look
    from merclip_jax.video.result import Settings
    from merclip_jax.weights import final

    if flags.threads:
        cv2.setNumThreads(flags.threads)
    checkpoint = flags.checkpoint or demo.folder() / "run"
    path = flags.video or demo.folder() / "procedural.mp4"
    spent = {"decode": 0.0, "faces": 0.0, "model": 0.0}

    class Again(Video):
        """A video over and over, its pictures' times running on."""

        def __iter__(self) -> Iterator[Picture]:
            count = 0
            for lap in range(flags.repeat):
                pictures = super().__iter__()
                while True:
                    began = time.perf_counter()
                    picture = next(pictures, None)
                    spent["decode"] += time.perf_counter() - began
                    if picture is None:
                        break
                    at = picture.time + lap * self.facts.seconds
                    yield dataclasses.replace(picture, time=at, index=count)
                    count += 1
                if flags.repeat > 1 and lap % max(1, flags.repeat // 12) == 0:
                    print(f"{at / 60:6.1f} min  {_memory()} MB", flush=True)

    class Timed(Answerer):
        """An answerer that is timed."""

        def __call__(self, windows):
            began = time.perf_counter()
            said = super().__call__(windows)
            spent["model"] += time.perf_counter() - began
            return said

    find = DlibLandmarks().find_all

    def timed(image):
        began = time.perf_counter()
        found = find(image)
        spent["faces"] += time.perf_counter() - began
        return found

    model = final.load(checkpoint)
    if flags.size:
        model = _of_size(model, flags.size)
    answerer = Timed(model, batch=flags.batch)
    look(Video(path, end=1.0), answerer, timed, Settings())  # compiled, loaded
    spent.update(dict.fromkeys(spent, 0.0))
    began = time.perf_counter()
    result = look(Again(path, end=flags.end), answerer, timed, Settings())
    whole = time.perf_counter() - began
    count = len({row.index for row in result.rows})
    view = answerer.model.system.view
    rest = whole - sum(spent.values())
    print(
        f"{path.name}: {count} pictures of {result.facts.width}x{result.facts.height}, "
        f"{count / whole:.1f} a second; threads {flags.threads or 'all'}, batch "
        f"{flags.batch}, windows of {view.frames} at {view.image_size} px, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    for name, seconds in (*spent.items(), ("motion, windows, events", rest)):
        print(f"  {name}: {seconds:.2f} s, {1e3 * seconds / count:.2f} ms a picture")
    print(f"  memory: {_memory()} MB", file=sys.stdout)


def _of_size(model: "FinalModel", size: str) -> "FinalModel":
    """The model with an encoder of another size, at 224 pixels, its weights random."""
    import jax
    import jax.numpy as jnp

    from merclip_jax.models.mer_clip import SIZES

    system, _, context = model.members[0]
    system = dataclasses.replace(
        system,
        model=dataclasses.replace(system.model, size=size),
        view=dataclasses.replace(system.view, image_size=224),
    )
    key = jax.random.key(0)
    clip = jnp.zeros((1, *system.view.shape), jnp.float32)
    variables = jax.jit(system.init)(key, {"frames": clip})
    told = context.run["features"].shape[:2]
    features = jax.random.normal(key, (*told, SIZES[size].embed))
    features /= jnp.linalg.norm(features, axis=-1, keepdims=True)
    context = context.replace(run={**context.run, "features": features})
    return dataclasses.replace(model, members=((system, variables, context),))


def _memory() -> int:
    """Largest resident size of the process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
