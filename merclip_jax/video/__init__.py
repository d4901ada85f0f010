"""From a video to when a face shows what: decode, follow faces, look, say."""
