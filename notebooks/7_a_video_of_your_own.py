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
# # A video of your own
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# What a face shows in a video, and when, without labels or key frames. First on a procedural video, of which the truth is known, with a small model that is trained here; then on a file of yours. **Only with the consent of the person who is seen. A score is no proof of a feeling, and tells nothing of lies.**

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax") + "[video]"
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

# %%
small = "MERCLIP_SMALL" in os.environ  # a check of this page, not a result
dataset = "synthetic/windows_mini" if small else "synthetic/windows"
tested = "('synthetic/s01',)" if small else "('synthetic/s02','synthetic/s05')"
given = f"--config.data.dataset={dataset} --config.protocol.name=holdout"
given += f' --config.protocol.test_subjects="{tested}"'
given += " --config.train.epochs=1" if small else ""
# !merclip-build --dataset=$dataset

# %% [markdown]
# ## A model to use
# The clips are windows of recordings: half of them show an expression somewhere, half show none but blinks, speech and a moving head. The run is scored on subjects it does not know; `final_fit` then trains one more model on everyone, to be used, and keeps what is known of how sure its answers are.

# %%
# !merclip --config=window_synthetic --workdir=runs/window $given --config.protocol.final_fit=True

# %% [markdown]
# ## A video
# Thirty seconds of somebody whom no window shows, with five micro-expressions in it. On Colab, `google.colab.files.upload()` brings a file of yours in its place; a phone that films 120 or 240 pictures a second is the better camera.

# %%
seconds, shown = (6, 1) if small else (30, 5)
# !python -m data_builders.synthetic.video --out=video.mp4 --seconds=$seconds --expressions=$shown
video = "video.mp4"

# %%
# !merclip-predict $video --checkpoint=runs/window --out=found --render

# %% [markdown]
# ## What was found
# The page has a timeline, the faces around each event with what spoke for the answer, and what the model is. `frames.csv` has a row a picture, with columns as OpenFace and py-feat name them; `events.csv` a row an event, and a sentence. Where nothing is sure enough, the answer is that no micro-expression was found.

# %%
import html
import json
from pathlib import Path

from IPython.display import HTML, display

page = html.escape(Path("found/index.html").read_text())
display(
    HTML(f'<iframe srcdoc="{page}" style="width:100%;height:900px;border:0"></iframe>')
)
print(json.loads(Path("found/metadata.json").read_text())["answer"])

# %% [markdown]
# The truth, to compare with:

# %%
for one in json.loads(Path("video.json").read_text()):
    print(
        f"{one['onset']:.2f} to {one['offset']:.2f} s: {one['emotion']}, AU {one['au_cell']}"
    )

# %% [markdown]
# **Next**
# - A model that says something of people is trained on people: `configs/window_casme2.py` and its like, on a dataset of which you have signed the agreement ([a video of your own](../docs/video.md)).
# - `merclip-web --checkpoint=runs/window` is a page to try it with a webcam, on your machine alone; it needs the extra `web`.
# - `merclip-export runs/window` makes a file that runs without this package.
