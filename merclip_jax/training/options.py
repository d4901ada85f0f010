"""How a training is run, as plain numbers."""

import dataclasses
from typing import Annotated

from merclip_jax.declared import OneOf, Range, check
from merclip_jax.systems.system import REMATS


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How a training is run; only epochs and batch_size change what a member learns.

    epochs, batch_size: of every member; stack: members trained at once, 0 for as many
    as fit; scan_steps: steps a dispatch, 0 for an epoch; checkpoint_every: dispatches
    between two checkpoints; keep_weights: write each member's weights; profile: (first,
    last) step of a profiler trace, () for none.

    What makes room: remat: of the forward pass, what the backward pass computes again,
    one of REMATS; microbatch: clips that are in the model at a time, 0 for the whole
    batch (dropout and drop path then draw other masks); fsdp: parameters and the
    optimiser's moments lie in parts on the devices that share a batch.
    """

    # Upper ends are far above sense: they catch a typing error before it takes hours.
    epochs: Annotated[int, Range(1, 10_000)] = 55
    batch_size: Annotated[int, Range(1, 4096)] = 16
    stack: Annotated[int, Range(0, 10_000)] = 0
    scan_steps: Annotated[int, Range(0, 1000)] = 8
    checkpoint_every: Annotated[int, Range(1, 1_000_000)] = 50
    keep_weights: bool = False
    profile: Annotated[tuple[int, ...], Range(0, 10**9)] = ()
    remat: Annotated[str, OneOf(REMATS)] = "none"
    microbatch: Annotated[int, Range(0, 4096)] = 0
    fsdp: bool = False

    def __post_init__(self):
        check(self)
        ordered = tuple(sorted(self.profile)) == self.profile
        if self.profile and not (len(self.profile) == 2 and ordered):
            raise ValueError(f"profile={self.profile}: expected (first, last) step")
        if self.microbatch and self.batch_size % self.microbatch:
            raise ValueError(
                f"microbatch={self.microbatch} does not divide a batch of "
                f"{self.batch_size}"
            )
