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
# # Weights from PyTorch, and back
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# PyTorch itself is not needed. Published CLIP weights become a folder that trainings start from; a trained model becomes a `.safetensors` file under the authors' names, and comes back bit for bit.

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
small = "MERCLIP_SMALL" in os.environ  # a check of this page: nothing is downloaded

# %% [markdown]
# ## Published weights
# `--check` prints a table of every tensor's way and writes nothing: what is taken, what is resized, what starts anew, what is left over. Files: `.pth`, `.pt`, `.ckpt`, `.bin`, TorchScript, safetensors, or `hf://owner/name/file`.

# %%
clip = "hf://openai/clip-vit-base-patch16/model.safetensors"
if not small:
    # !merclip-convert --src=$clip --src=hf://openai/clip-vit-base-patch16/tokenizer.json --check
    # !merclip-convert --src=$clip --src=hf://openai/clip-vit-base-patch16/tokenizer.json --dst=weights/clip
    print(
        "A run starts from them with --config.init.vision=weights/clip --config.init.text=weights/clip"
    )

# %% [markdown]
# ## A trained model to PyTorch
# Train something, and keep its weights.

# %%
# !merclip-build --dataset=synthetic/mini

# %%
# !merclip --config=synthetic_3class --workdir=runs/kept --config.data.dataset=synthetic/mini --config.train.epochs=1 --config.train.batch_size=8 --config.train.keep_weights=True

# %%
from pathlib import Path

member = sorted(Path("runs/kept/weights").iterdir())[0]
# !merclip-convert --src=$member --dst=model.safetensors --to=torch

# %%
from safetensors.numpy import load_file

tensors = load_file("model.safetensors")
print(len(tensors), "tensors,", sum(t.size for t in tensors.values()), "numbers")
for name in list(tensors)[:5]:
    print(name, tensors[name].shape)

# %% [markdown]
# ## And back
# The same bits.

# %%
# !merclip-convert --src=model.safetensors --dst=weights/back
# !merclip-convert --src=weights/back --dst=again.safetensors --to=torch

# %%
again = load_file("again.safetensors")
assert again.keys() == tensors.keys()
assert all((again[name] == tensors[name]).all() for name in tensors)
print("all", len(again), "tensors are equal to the bit")

# %% [markdown]
# **Next**: the page *Published weights* says which files there are and what each gives. [Three systems on one task](5_three_systems.ipynb).
