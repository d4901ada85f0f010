"""Five datasets, each left out once, 12 AUs, last epoch: the protocol of CD6ME.

    python -m merclip_jax.main --config=configs/micro_au_clip/cd6me.py --workdir=runs/au_cd6me

The benchmark (Varanka et al., Data Leakage and Evaluation Issues in Micro-Expression
Analysis) has six: CASME, CASME II, SAMM, MMEW, 4DME and part A of CAS(ME)^3. CASME lacks
here: no builder reads it. Of the five those are taken that are built, two at least; the
card says which are not, and prints what others have published beside the score.
CAS(ME)^2 is none of the six; --config.data.dataset takes it too, joined by "+".
After Micro-AU CLIP, with equations of our own: no paper's number is of this method. CLIP's
weights: --config.init.vision=hf://openai/clip-vit-base-patch16/model.safetensors and
the same for --config.init.text. The datasets must be built with landmarks.
Expected cost: not measured yet; five trainings on about 1,500 clips each.
"""

from configs import micro_au_clip

DATASETS = ("casme2/cropped", "samm", "mmew", "fourdme", "casme3")


def get_config(arg: str | None = None):
    """The config; `arg` as in `micro_au_clip.finish`."""
    config = micro_au_clip.on("+".join(DATASETS), protocol="cd6me")
    config.protocol.name = "cross_dataset"
    return micro_au_clip.finish(config, arg)
