"""What depends on the jaxlib that is installed; nothing here imports jax."""

from importlib.metadata import version

JAXLIB = tuple(map(int, version("jaxlib").split(".")[:2]))
# From 0.11 on XLA's CPU backend has its newer emitters alone, and no flag for them.
OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false" if JAXLIB < (0, 11) else ""
