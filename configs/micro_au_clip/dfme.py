"""DFME, 12 AUs, official split: 1856 clips to train, tests A (474) and B (299).

    python -m merclip_jax.main --config=configs/micro_au_clip/dfme.py --workdir=runs/au_dfme

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. CLIP's
weights come by --config.init.vision and --config.init.text (docs/weights.md); the
dataset must be built with landmarks. No list of AUs is customary here: CD6ME's are taken.
Expected cost: one training, about 0.003 EFLOP (1856 clips x 30 epochs x 60 GFLOP).
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    config = micro_au_clip.on("dfme/ccac")
    config.protocol.name = "holdout"
    config.protocol.train_splits = ("train",)
    config.protocol.test_splits = ("test_a", "test_b")
    return micro_au_clip.finish(config, arg)
