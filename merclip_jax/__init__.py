"""MER-CLIP in JAX/Flax: AU-guided vision-language micro-expression recognition."""

__version__ = "0.2.0"
