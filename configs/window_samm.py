"""Windows of SAMM's long recordings, three emotions or none, leave-one-subject-out.

    python -m data_builders.build --dataset=samm/long --manual_dir=FOLDER --windows=0.12 --data_dir=data/windows
    python -m merclip_jax.main --config=configs/window_samm.py --workdir=runs/window_samm

No paper's number: the papers' clips are cut at annotated key frames. Trained so that none
need be known: what `python -m merclip_jax.predict` wants.
Expected cost: twice that of configs/samm_3class.py, for as many windows without an expression.
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "samm_3class"
    config.data.dataset = "samm/long"
    config.data.data_dir = "data/windows"
    return common.windows(common.finish(config, arg), "window_samm")
