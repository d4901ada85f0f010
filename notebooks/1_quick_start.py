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
# # Quick start: train, score, read the card
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# No face data is needed: the clips are drawn. On a free Colab runtime this takes some minutes, on a GPU or TPU less; JAX finds the device by itself.

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

# %%
import jax

small = "MERCLIP_SMALL" in os.environ  # a check of this page, not a result
dataset = "synthetic/mini" if small else "synthetic/tiny"
epochs = 1 if small else 19
print(jax.__version__, jax.devices())

# %% [markdown]
# ## Clips
# Faces drawn from numbers, moved by facial action units (AUs). The best score that anything can reach on them is known.

# %%
# !merclip-build --dataset=$dataset

# %%
import matplotlib.pyplot as plt
import numpy as np

from configs import synthetic_3class
from merclip_jax import build

config = synthetic_3class.get_config()
config.data.dataset = dataset
clips = build.clips(config)
figure, axes = plt.subplots(2, 8, figsize=(12, 3.4))
for row, index in zip(axes, (0, 1)):
    frames = clips.decode(index)
    for axis, k in zip(row, np.linspace(0, len(frames) - 1, 8).astype(int)):
        axis.imshow(frames[k])
        axis.axis("off")
    row[0].set_title(
        f"{clips.clip[index]}  {clips.emotion[index]}  AUs {clips.au_cell[index]}",
        loc="left",
        fontsize=9,
    )
plt.show()

# %% [markdown]
# ## Train
# *Leave-one-subject-out*: one model per subject, each asked about the one subject that it has never seen. All models train at once, as one program. Interrupt the cell and run it again: it goes on where it was.

# %%
# !merclip --config=synthetic_3class --workdir=runs/first --config.data.dataset=$dataset --config.train.epochs=$epochs --config.train.batch_size={8 if small else 16}

# %% [markdown]
# ## Read the card
# First the score with its interval over subjects, then what guessing scores, then the ceiling. A score inside the guessers' interval is no result.

# %%
from merclip_jax.results.card import find_row, read_card

card = read_card("runs/first/card.json")
row, guess = find_row(card, "uf1"), find_row(card, "prior", part="chance")
print(f"UF1      {row['mean']:.3f}  ({row['low']:.3f} - {row['high']:.3f})")
print(f"guessing {guess['value']:.3f}  ({guess['low']:.3f} - {guess['high']:.3f})")
print(f"ceiling  {card['ceiling']['uf1']:.3f}")
for note in card["notes"]:
    print("!", note)

# %%
matrix = next(block for block in card["scores"] if block["kind"] == "matrix")
counts = np.array([row["counts"] for row in matrix["rows"]])
names = card["task"]["classes"]
figure, axis = plt.subplots(figsize=(4, 4))
axis.imshow(counts, cmap="Blues")
for (i, j), count in np.ndenumerate(counts):
    axis.text(j, i, count, ha="center", va="center")
axis.set(
    xticks=range(len(names)),
    xticklabels=names,
    yticks=range(len(names)),
    yticklabels=names,
)
axis.set(xlabel="answered", ylabel="annotated")
plt.show()

# %% [markdown]
# `runs/first/report.html` shows the same with curves, subjects and clips; download it and open it in a browser.
#
# **Next**: [your own dataset](2_your_dataset.ipynb), [weights from PyTorch](4_weights.ipynb), [three systems on one task](5_three_systems.ipynb).
