"""When a flow that has died is started again, and when it is not."""

import random
from collections.abc import Callable

from fraudflow.run.told import Failure

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
GOOD_WHILE_S = 120.0
"""A run that was ready for so long was a good one: what ends it is a new trouble."""

MOST_FAILURES = 3
"""Deaths at one message after which a further start would only repeat them."""


class Pauses:
    """How long to wait before each restart: a second, twice as long each time up to a minute, and less by chance, so
    that several do not come back at once. A good while makes it begin anew."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._in_a_row = 0

    def after(self, ready_for: float) -> float:
        """Seconds to wait after a run that was ready for so many seconds."""
        if ready_for >= GOOD_WHILE_S:
            self._in_a_row = 0
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._in_a_row, 10))
        self._in_a_row += 1
        return longest * (0.75 + 0.25 * self._chance())


class Poison:
    """Counts the deaths in a row at one message. A step that fails with the same error, but at no message that it could
    tell, counts too: its batches are cut differently each time."""

    def __init__(self) -> None:
        self._failure: Failure | None = None
        self.deaths = 0

    def died(self, failure: Failure | None) -> bool:
        """A run ended with this failure (None: of another cause); whether to give up."""
        if failure is None:
            return False
        if self._failure is None or not same(self._failure, failure):
            self.deaths = 0
        self._failure = failure
        self.deaths += 1
        return self.deaths >= MOST_FAILURES


def same(one: Failure, other: Failure) -> bool:
    """Whether the same step failed at the same message, or both at none and with the same error."""
    return (one.step, one.at) == (other.step, other.at) and (bool(one.at) or one.error == other.error)
