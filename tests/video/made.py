"""Videos and models that tests of the video room are made with."""

from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_builders.synthetic.recording import frames_at
from data_builders.synthetic.script import Script
from data_builders.synthetic.video import draw, recording, write_video
from merclip_jax.data.view import View
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Context
from merclip_jax.video.answer import Answerer, Said
from merclip_jax.weights.final import About, Calibration, FinalModel

CLASSES = ("none", "negative", "positive", "surprise")
CALM = recording(blinks=0.0, speech=0.0)
VIEW = View(frames=8, image_size=32, sampling="window")


def script(seed=0, *, seconds=6.0, expressions=1, config=CALM) -> Script:
    return draw(config, seed=seed, seconds=seconds, expressions=expressions)


def pictures(made: Script, *, fps=30.0, config=CALM) -> tuple[list, np.ndarray]:
    times = np.arange(round(made.seconds * fps)) / fps
    return list(frames_at(config, made, times, np.random.default_rng(0))), times


def film(path: Path, made: Script, **how) -> Path:
    frames, times = pictures(made, **how)
    write_video(path, (f.picture for f in frames), times)
    return path


def plain(path: Path, images, *, fps=10, codec="libx264", pix_fmt="yuv420p", **stream):
    """A video of any pictures, by FFmpeg."""
    import av

    with av.open(str(path), "w") as container:
        made = container.add_stream(codec, rate=Fraction(fps))
        made.height, made.width = images[0].shape[:2]
        made.pix_fmt = pix_fmt
        for name, value in stream.items():
            setattr(made, name, value)
        for image in images:
            form = "gray" if image.ndim == 2 else "rgb24"
            container.mux(made.encode(av.VideoFrame.from_ndarray(image, format=form)))
        container.mux(made.encode())
    return path


def model(path: Path, *, view: View = VIEW, calibrated: bool = True) -> FinalModel:
    """A tiny MER-CLIP of random weights, with all that a final model knows."""
    system = MerClip(
        classes=CLASSES, epochs=1, view=view, model=MerClipOptions(size="tiny")
    )
    frames = jnp.zeros((1, *view.shape), jnp.uint8)
    variables = system.init(jax.random.key(0), {"frames": frames})
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 2, 64)).astype(np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    context = Context(run={"features": jnp.asarray(features)})
    known = Calibration(rng.normal(size=(40, 4)), rng.integers(0, 4, 40))
    about = About(
        title="A test",
        classes=CLASSES,
        nothing="none",
        vocabulary=("12", "1+2"),
        aus={12: (1.0, 0.0)},
        temperature=1.5,
        contract="raw-window",
        dataset="synthetic/windows",
    )
    member = (system, variables, context)
    return FinalModel(path, about, (member,), known if calibrated else None)


class Oracle(Answerer):
    """Says what the motion of a window tells; its model is asked nothing."""

    def __call__(self, windows):
        surprise = np.array([min(w.motion / 0.6, 1.0) for w in windows]).round(4)
        rest = np.zeros_like(surprise)
        classes = np.stack([1 - surprise, rest, rest, surprise], 1)
        return Said(classes, np.tile(surprise[:, None], len(self.aus)))


def finder(points):
    """Finds one face, where it always is."""
    return lambda image: [(0.9, points)]
