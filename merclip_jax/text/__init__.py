"""From AU cells to sentences to features."""
