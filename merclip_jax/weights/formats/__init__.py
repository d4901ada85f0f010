"""File formats that weights come in, read as data alone."""
