"""CAS(ME)^3, 12 AUs, 860 clips, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/casme3.py --workdir=runs/au_casme3

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. CLIP's
weights come by --config.init.vision and --config.init.text (docs/weights.md); the
dataset must be built with landmarks. No list of AUs is customary here: CD6ME's are taken.
Expected cost: 94 folds, about 0.15 EFLOP (folds x clips x 30 epochs x 60 GFLOP a clip-step).
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    return micro_au_clip.finish(micro_au_clip.on("casme3"), arg)
