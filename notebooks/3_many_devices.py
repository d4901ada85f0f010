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
# # Several GPUs, a TPU slice
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/) *File, Upload notebook*
#
# The same command uses all devices that JAX sees. This page shows how work is shared out, what fits, and how long it takes, before anything is spent. Without several devices it simulates eight on the CPU.

# %%
# Install. Colab's own jax stays where it is new enough. MERCLIP_JAX may name a wheel or a checkout.
import os
import subprocess
import sys

package = os.environ.get("MERCLIP_JAX", "merclip_jax")
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

# %%
# Before jax is imported, here and in the commands below.
if (
    not os.environ.get("TPU_NAME")
    and subprocess.run(["which", "nvidia-smi"], capture_output=True).returncode
):
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax

print(jax.device_count(), "x", jax.devices()[0].device_kind)

# %% [markdown]
# ## How members and devices meet
# A *member* is one fold with one seed: one model. Members know nothing of each other, so the first axis of the mesh costs no communication. Devices that are left over share each member's batch.

# %%
from merclip_jax.training.sharding import make_mesh

for members, batch in ((8, 16), (4, 16), (2, 16), (1, 16), (1, 12)):
    mesh = make_mesh(members, batch)
    shape = " x ".join(f"{n} {axis}" for axis, n in mesh.shape.items())
    print(
        f"stack of {members}, batch {batch:>2}: {shape}, {jax.device_count() - mesh.size} idle"
    )

# %% [markdown]
# ## What will it take?
# `--dry_run` prints mesh, members at a time, memory, FLOPs and the hours to expect from a trial of some steps on this machine. The first lines are what you want to read.

# %%
# !merclip-build --dataset=synthetic/mini

# %%
# !merclip --config=synthetic_3class --dry_run --workdir=runs/eight --config.data.dataset=synthetic/mini --config.train.batch_size=8

# %% [markdown]
# ## Train on all of them

# %%
# !merclip --config=synthetic_3class --workdir=runs/eight --config.data.dataset=synthetic/mini --config.train.batch_size=8 --config.train.epochs=1

# %% [markdown]
# ## When one model does not fit
# Cheapest first; the dry run says which of them would do.
#
# | flag | what it does |
# |---|---|
# | `--config.train.stack=N` | members that train at once; 0 finds as many as fit |
# | `--config.train.fsdp=True` | parameters and moments in parts over the devices that share a batch |
# | `--config.train.remat=products` or `blocks` | activations computed again in the backward pass |
# | `--config.train.microbatch=N` | clips that are in the model at a time |
#
# ## A TPU slice of several hosts
# On each host the same command with `--distributed`, data and workdir on a drive that all mount; Cloud TPU, GKE and SLURM say which process is which:
#
#     gcloud compute tpus tpu-vm ssh SLICE --zone=ZONE --worker=all --command="cd merclip_jax && python -m merclip_jax.main --config=configs/casme3_7class.py --config.data.data_dir=/mnt/data/tfds --workdir=/mnt/data/runs/casme3 --distributed"
#
# A process that is lost ends the job with a message; the same command goes on, on another number of processes too. **XLA's flags**: none are needed. Kernels are chosen by the device; old lists of `--xla_...` flags from other projects mostly slow a run down, so measure before you keep one (`python -m benchmarks.train_step`, in a checkout).
#
# **Next**: the page *Devices and hosts* has launch files for SLURM and GKE. [Weights from PyTorch](4_weights.ipynb).
