"""SMIC-HS."""
