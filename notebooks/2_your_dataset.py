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
# # Your dataset, on a machine that may go away
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# From the owners' archive on your Drive to a leave-one-subject-out score, with everything that must survive a disconnect on the Drive too. **The pictures stay with you**: the datasets' licences forbid handing them on, so share neither the folder nor this notebook's outputs.

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

# %%
try:
    from google.colab import drive

    drive.mount("/content/drive")
    home = "/content/drive/MyDrive/merclip"
except ImportError:  # not on Colab
    home = os.environ.get("MERCLIP_HOME", "merclip")

dataset = "casme2/cropped"  # or samm, casme3, dfme, smic, casme_sq, mmew, fourdme
archive = os.environ.get("MERCLIP_MANUAL_DIR", f"{home}/CASME2")
config = "casme2_3class"
small = "MERCLIP_SMALL" in os.environ  # a check of this page, not a result
os.makedirs(home, exist_ok=True)

# %% [markdown]
# ## The doctor
# Reads tables and pictures, writes nothing, and says by file and row what is odd, and whether the dataset can be built.

# %%
# !merclip-doctor --dataset=$dataset --manual_dir=$archive

# %% [markdown]
# ## Build
# Only clips that are whole become records. A build that was stopped goes on.

# %%
# !merclip-build --dataset=$dataset --manual_dir=$archive

# %% [markdown]
# ## Count before you train
# How many clips each class has, beside what the paper counts: a task that lacks clips is another task.

# %%
from importlib import import_module

import numpy as np

from data_builders.tasks import TASKS
from merclip_jax import build

values = import_module(f"configs.{config}").get_config()
clips = build.clips(values)
published = TASKS[config].counts.get("clips", ())
here = np.bincount(clips.label, minlength=len(clips.classes))
for name, number, paper in zip(clips.classes, here, published):
    print(f"{name:<12} {number:>4} here, {paper} published")
print(len(set(clips.subject.tolist())), "subjects")

# %% [markdown]
# ## What will it take?
# `--dry_run` compiles, tries some steps on this very device and says memory and hours; it writes nothing.

# %%
flags = ""
if small:
    flags = "--config.model.size=tiny --config.data.frames=8 --config.data.image_size=32 --config.data.resize=0"
    flags += " --config.train.epochs=1 --config.train.batch_size=8 --config.train.scan_steps=2"
# !merclip --config=$config --dry_run --workdir=$home/run $flags

# %% [markdown]
# ## Train
# Members that are finished and the checkpoint of those that are not lie in the workdir, on the Drive. **After a disconnect run all cells again**: what is done is not done twice, and the result is the same bits on the same kind of device. On another kind add `--continue_elsewhere`; the card will say so.

# %%
# !merclip --config=$config --workdir=$home/run --continue_elsewhere $flags

# %%
from merclip_jax.results.card import find_row, read_card

card = read_card(f"{home}/run/card.json")
for key in ("uf1", "uar", "acc"):
    row = find_row(card, key)
    between = (
        f"({row['low']:.3f} - {row['high']:.3f})" if row["low"] is not None else ""
    )
    print(f"{row['name']:<4} {row['mean']:.3f} {between}")

# %% [markdown]
# From random weights a large model learns little from a few hundred clips. **Next**: [published weights](4_weights.ipynb); why the paper's number is higher: the page *Reproducing a table*.
