"""Published models, a file each: how it is told, its names, its numbers."""
