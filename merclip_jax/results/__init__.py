"""The card and the report of a run."""
