"""Windows of procedural recordings, with a micro-expression or none: for raw video.

    python -m data_builders.build --dataset=synthetic/windows
    python -m merclip_jax.main --config=configs/window_synthetic.py --workdir=runs/window

No paper's number. Trained so that no key frame need be known: what `python -m merclip_jax.predict` wants.
Expected cost: minutes on two cores.
"""

from configs import common, synthetic


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = synthetic.tiny(3)
    config.data.dataset = "synthetic/windows"
    config.train.epochs = 22
    return common.windows(common.finish(config, arg), "window_synthetic")
