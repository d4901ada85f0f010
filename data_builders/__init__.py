"""TFDS builders: official dataset layouts into one set of clip features."""
