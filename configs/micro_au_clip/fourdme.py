"""4DME, 8 AUs, leave-one-subject-out.

    python -m merclip_jax.main --config=configs/micro_au_clip/fourdme.py --workdir=runs/au_fourdme

After Micro-AU CLIP, with equations of our own: no paper's number goes with it. CLIP's
weights come by --config.init.vision and --config.init.text (docs/weights.md); the
dataset must be built with landmarks.
Expected cost: 60 GFLOP a clip-step, times folds, clips and 30 epochs.
"""

from configs import micro_au_clip


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    return micro_au_clip.finish(micro_au_clip.on("fourdme"), arg)
