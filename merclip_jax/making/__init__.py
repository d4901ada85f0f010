"""From a config to a run, one file a system."""
