"""The one TFDS decoder that builders and trainings read records with."""

import tensorflow_datasets as tfds


class Encoded(tfds.decode.SkipDecoding):
    """Leaves frames encoded, so that only the sampled ones are ever decoded."""

    def decode_batch_example_np(self, batch: object) -> object:
        """Called by TFDS for the frames of one record; theirs has no such method."""
        return batch
