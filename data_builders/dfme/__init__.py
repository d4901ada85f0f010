"""DFME."""
