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
# # Explain and compare
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# What a model saw in a clip, whether its probabilities mean something, and whether two recipes differ on the same people. On procedural clips, of which the truth is known.

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
given = f"--config.data.dataset={dataset} --config.train.keep_weights=True"
given += " --config.protocol.name=kfold --config.protocol.folds=3"
given += " --config.train.epochs=1 --config.train.batch_size=8" if small else ""
# !merclip-build --dataset=$dataset

# %% [markdown]
# ## Two recipes on the same folds
# MER-CLIP as it is, and without its alignment with sentences on AUs. Both keep their weights, which an explanation needs.

# %%
# !merclip --config=synthetic_3class --workdir=runs/full $given
# !merclip --config=synthetic_3class:ablation=no_alignment --workdir=runs/no_alignment $given

# %% [markdown]
# ## Do they differ?
# Scores with intervals over subjects; the difference *paired*, since a subject that is hard is hard for both; McNemar's test beside it, which takes clips of one person for independent and is too sure.

# %%
# !merclip-compare runs/full runs/no_alignment --out=runs/compared

# %%
from IPython.display import Image, display

display(Image("runs/compared/comparison.png"))

# %% [markdown]
# ## What did it see?
# Every clip is explained by a model that never trained on its subject. Bright is what speaks for the answer, held against the same face standing still at its onset.

# %%
# !merclip-explain runs/full

# %%
from pathlib import Path

page = Path("runs/full/explained.html")
print(f"{page}: {page.stat().st_size / 1e6:.1f} MB, opens in any browser")

# %% [markdown]
# ## Where did it see a single AU?
# For any AU that the training's sentences name, on any test clip. The map of the first clip that shows one, at its apex:

# %%
import numpy as np

from merclip_jax.explaining.finished import open_run
from merclip_jax.explaining.saw import with_maps
from merclip_jax.results import collect
from merclip_jax.results.figures import overlaid

run = open_run(Path("runs/full"))
example = with_maps(run, collect.examples(run.plan, run.members, run.results)[:1])[0]
title, maps = example.heats[-2]
shown = np.concatenate(
    [
        example.frames[example.apex],
        overlaid(example.frames[example.apex], maps[example.apex]),
    ],
    1,
)
from PIL import Image as Picture

print(example.clip, title)
display(Picture.fromarray(shown).resize((shown.shape[1] * 4, shown.shape[0] * 4)))

# %% [markdown]
# ## Does the card hold?
# Every number is made again from the predictions beside it, and these are compared with the members' files.

# %%
# !merclip-card verify runs/full
# !merclip-report runs --out=runs/index.html

# %% [markdown]
# **Next**: the page *Explanations* says what the maps can and cannot tell; *What the field reports* puts published numbers beside what guessing reaches; `examples/explain_a_clip.py` is the map in a few lines.
