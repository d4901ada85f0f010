"""Windows of CAS(ME)^3's recordings, three emotions or none, leave-one-subject-out.

    python -m data_builders.build --dataset=casme3/videos --manual_dir=FOLDER --windows=0.12 --data_dir=data/windows
    python -m merclip_jax.main --config=configs/window_casme3.py --workdir=runs/window_casme3

No paper's number: the papers' clips are cut at annotated key frames. Trained so that none
need be known: what `python -m merclip_jax.predict` wants.
Expected cost: twice that of configs/casme3_3class.py, for as many windows without an expression.
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "casme3_3class"
    config.data.dataset = "casme3/videos"
    config.data.data_dir = "data/windows"
    return common.windows(common.finish(config, arg), "window_casme3")
