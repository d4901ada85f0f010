"""Records as sequences: of several splits, and seen to stay the same."""

from collections.abc import Sequence

from merclip_jax.data.encoded import record_digest


class Checked(Sequence):
    """Records that are the same whenever they are read.

    Training reads them for hours: a file may be replaced meanwhile.
    """

    def __init__(self, source: Sequence, digests: Sequence[bytes]):
        self.source, self.digests = source, digests

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int):
        record = self.source[index]
        if record_digest(record) != self.digests[index]:
            raise ValueError("it has changed since the run began")
        return record


class Chained(Sequence):
    """Several splits' records as one sequence."""

    def __init__(self, parts: Sequence[Sequence]):
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int):
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)
