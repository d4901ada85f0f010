"""Hostile input, counted: a case ends in success or in an error that names its file."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, Phase, settings

from merclip_jax.errors import UserError

TOTAL = 1000  # of all areas together in `make test`; `make fuzz` takes 20 times that
SCALE = int(os.environ.get("FUZZ_CASES", TOTAL)) / TOTAL


@dataclasses.dataclass
class Tally:
    """How the cases of one area ended.

    A traceback or an accepted falsehood is no number here: either fails the test.
    """

    cases: int = 0
    refused: int = 0
    succeeded: int = 0

    def given(self, share: int) -> Callable:
        """Returns the decorator of a property that takes `share` of the cases.

        Seeds are fixed: the same cases on every machine, no database beside the tests.
        """
        return settings(
            max_examples=max(1, round(share * SCALE)),
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )

    @contextlib.contextmanager
    def case(
        self, names: object = "", refusal: type[Exception] = UserError
    ) -> Iterator[None]:
        """Counts one case; inside stand the call and, after it, the oracle.

        Args:
            names: what a refusal's message has to contain (the file, row or key).
            refusal: the error by which this area says no.

        Raises:
            AssertionError: If the oracle fails, or a refusal does not say its file.
        """
        self.cases += 1
        try:
            yield
        except refusal as error:
            assert str(names) in str(error), f"{names} is not named: {error}"
            assert str(error).strip()
            self.refused += 1
        else:
            self.succeeded += 1
