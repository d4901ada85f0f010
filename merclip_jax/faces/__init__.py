"""Aligned faces from landmarks."""
