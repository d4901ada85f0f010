"""A stack of members from start to predictions."""
