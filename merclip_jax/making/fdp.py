"""FDP of a config."""

from ml_collections import ConfigDict

from merclip_jax.data.clips import Clips, DataOptions
from merclip_jax.data.folds import ProtocolOptions
from merclip_jax.data.view import View
from merclip_jax.job import Job, Making, options
from merclip_jax.making.shared import run_of
from merclip_jax.models.fdp import FRAMES, FdpOptions
from merclip_jax.naming import RunOptions
from merclip_jax.systems.fdp import FdpLossOptions, FdpSystem
from merclip_jax.training.optim import AdamOptions, coupled_adam
from merclip_jax.training.options import TrainOptions
from merclip_jax.weights.families import fdp as family
from merclip_jax.weights.load import load_whole
from merclip_jax.weights.options import WholeOptions


def job(config: ConfigDict, clips: Clips) -> Job:
    """A run of FDP.

    Args:
        config: all of it.
        clips: as the config's view shows them.
    """
    system = FdpSystem(
        classes=clips.classes,
        view=clips.view,
        model=options(FdpOptions, config, "model"),
        loss_options=options(FdpLossOptions, config, "loss"),
    )
    init = options(WholeOptions, config, "init")
    shapes = family.shapes_of(system.module, image_size=system.view.image_size)
    start = load_whole("fdp", shapes, init)
    optimiser = coupled_adam(options(AdamOptions, config, "optim"))
    return run_of(config, clips, system, optimiser, start=start)


def _misfits(config: ConfigDict) -> list[str]:
    """What does not go together across groups; each value by itself is sound."""
    found = []
    data = config.data
    if data.frames != FRAMES:
        found.append(f"config.data.frames={data.frames}: FDP sees {FRAMES}")
    if data.image_size % 32:
        found.append(
            f"config.data.image_size={data.image_size}: expected a multiple of 32, "
            "which the decoder halves five times"
        )
    if not data.grey:
        found.append("config.data.grey=False: FDP sees grey frames")
    if data.sampling == "uniform":
        # A dynamic image is made once for each clip, from the frames of a test.
        found.append(
            "config.data.sampling='uniform' draws other frames at every step, and the "
            "dynamic image is of one set of frames; 'stride' takes every L//8-th"
        )
    return found


FDP = Making(
    groups={
        "": (RunOptions,),
        "data": (DataOptions, View),
        "init": (WholeOptions,),
        "model": (FdpOptions,),
        "loss": (FdpLossOptions,),
        "optim": (AdamOptions,),
        "train": (TrainOptions,),
        "protocol": (ProtocolOptions,),
    },
    job=job,
    misfits=_misfits,
)
