"""MEGC2019's composite: CASME II 145, SAMM 133, SMIC 164 clips, 3 classes, 68 subjects.

    python -m merclip_jax.main --config=configs/megc2019_3class.py --workdir=runs/megc2019_3class

Leave-one-subject-out over the subjects of all three; 250 negative, 109 positive, 83 surprise. The card shows UF1 and UAR of all
together, as the challenge did, and of each dataset. SMIC has no action units, so its clips have no part in the alignment, and
no apex, so the middle of the clip stands for it. The paper's tables have no such cell; others' numbers: docs/field.md
One dataset left out at a time: --config.protocol.name=cross_dataset
Trained on the others and tested on one: --config.protocol.name=cross_dataset --config.protocol.test_datasets="('smic',)"
Expected cost: 68 folds, about 2 EFLOP (folds x clips x 55 epochs x 1.22 TFLOP a clip-step).
"""

from configs import common


def get_config(arg: str | None = None):
    """The config; `arg` as in `common.finish`."""
    config = common.base()
    config.data.task = "megc2019_3class"
    config.data.dataset = "casme2+samm+smic"
    return common.finish(config, arg, optim__peak_lr=6.25e-6)
