"""MMEW, 8 AUs, 300 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/mmew.py --workdir=runs/au_mmew

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. CLIP's
weights come by --config.init.vision and --config.init.text (docs/weights.md); the
dataset must be built with landmarks.
Expected cost: 30 folds, about 0.016 EFLOP (folds x clips x 30 epochs x 60 GFLOP a clip-step).
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    return micro_au_clip.finish(micro_au_clip.on("mmew"), arg)
