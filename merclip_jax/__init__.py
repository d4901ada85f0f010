"""MER-CLIP in JAX/Flax: AU-guided vision-language micro-expression recognition.

`merclip_jax.predict_video` is `video.predicting.predict_video`.
"""

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """Imports what needs more than this file when it is asked for."""
    if name == "predict_video":
        from merclip_jax.video.predicting import predict_video

        return predict_video
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
