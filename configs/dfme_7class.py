"""DFME, 7 classes, official split: 1856 clips to train, tests A (474) and B (299).

    python -m merclip_jax.main --config=configs/dfme_7class.py --workdir=runs/dfme_7class

Paper's UF1 .5024 / UAR .5115 / ACC .5696 on A, .5128 / .5120 / .5250 on B (epoch
chosen on the test set). The card scores A and B together and apart, as the paper's table does.
One test alone: --config.protocol.test_splits="('test_a',)"
Expected cost: one member, about 0.12 EFLOP (clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "dfme_7class"
    config.data.dataset = "dfme/ccac"
    config.data.access = (
        "https://mea-lab-421.github.io hands it out for a licence signed by a "
        "supervisor; academic use only"
    )
    config.protocol.name = "holdout"
    config.protocol.train_splits = ("train",)
    config.protocol.test_splits = ("test_a", "test_b")
    return common.finish(
        config,
        arg,
        optim__peak_lr=6.25e-6,
        model__drop_path=0.0,
        model__global_drop_path=0.0,
        text__last_and=False,
    )
