# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Three systems on one task
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# MER-CLIP, FDP and a detector of AUs on the same clips and folds, and whether their differences hold on the same people. The detector is *after* Micro-AU CLIP, whose equations are not at hand: they are ours. It is trained on no emotion; fixed rules turn its AUs into one.

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

# %%
small = "MERCLIP_SMALL" in os.environ  # a check of this page, not a result
dataset = "synthetic/mini" if small else "synthetic/apart"
same = f"--config.data.dataset={dataset}"
short = "--config.train.epochs=1 --config.train.batch_size=8" if small else ""
steps = (
    "--config.optim.steps=4 --config.train.batch_size=8 --config.train.scan_steps=2"
    if small
    else ""
)
# !merclip-build --dataset=$dataset

# %% [markdown]
# ## MER-CLIP
# Sixteen frames around the annotated key frames, aligned with sentences on their AUs.

# %%
# !merclip --config=synthetic_3class --workdir=runs/mer_clip $same $short

# %% [markdown]
# ## FDP
# Eight grey frames and no key frames; it paints the clip's *dynamic image* beside its answer. The report shows them.

# %%
# !merclip --config=fdp/synthetic_3class --workdir=runs/fdp $same $steps

# %% [markdown]
# ## A detector of AUs
# Onset, apex and 68 landmarks.

# %%
# !merclip --config=micro_au_clip/synthetic --workdir=runs/aus $same $short

# %% [markdown]
# ## Side by side
# Scores on the clips that all have, and each difference *paired by subject*: an interval that holds zero says that these people do not tell the two apart.

# %%
# !merclip-compare runs/mer_clip runs/fdp runs/aus

# %% [markdown]
# ## What AUs alone would say
# On each card that knows AUs: emotions by fixed rules, beside the same rules on the annotated AUs, which is the most that these rules can reach.

# %%
from merclip_jax.results.card import read_card

for run in ("mer_clip", "aus"):
    card = read_card(f"runs/{run}/card.json")
    print(card["title"])
    for block in card["scores"]:
        if block["title"].startswith("Emotion read off"):
            for row in block["rows"]:
                print(f"   {row['name']:<16} UF1 {row['uf1']:.3f}")

# %% [markdown]
# **Next**: the page *Three systems* says what each sees and costs, and what is faithful; `examples/add_a_system.py` is a fourth.
