"""CAS(ME)^2, 12 AUs, its 57 micro-expressions, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/casme_sq.py --workdir=runs/au_casme_sq

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. CLIP's
weights come by --config.init.vision and --config.init.text (docs/weights.md); the
dataset must be built with landmarks. No list of AUs is customary here: CD6ME's are taken.
Expected cost: 60 GFLOP a clip-step, times folds, clips and 30 epochs.
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    return micro_au_clip.finish(micro_au_clip.on("casme_sq"), arg)
