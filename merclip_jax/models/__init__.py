"""Flax linen modules: video encoders, CLIP's text tower, emotion head, MER-CLIP."""
