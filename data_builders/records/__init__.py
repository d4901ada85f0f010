"""From a `Release` to records on disk: features, pictures, shards, counts, report."""
