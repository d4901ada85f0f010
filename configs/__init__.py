"""One file per cell of the paper's tables; each gives `get_config(arg)`."""
