"""Epochs in step: why a message that is there need not wait for the end of an epoch that has begun elsewhere.

The engine lets a source read in an epoch only once every source, on every worker, has ended the one before; and it ends
an epoch of a source so long after it *ended* the last one, waiting included. Two sources that are out of step by half
an epoch therefore both stand still half of the time, and drift further apart (at 500 messages a second and epochs of a
second: a median of 200 ms from arrival to decision, 8 ms in step). The end of an epoch is an instant that all sources
see. So each ends its next epoch one interval after that instant, not after its own last end; between the two it rests.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import floor
from time import monotonic

LEAST_INTERVAL_S = 0.1
"""Shorter epochs are left alone: tests have them."""

MARGIN_S = 0.005
"""How long before the engine could end an epoch a source begins to rest: its clock and the engine's differ a little."""

LATEST_S = 0.001
"""How long after the instant at which an epoch should end the engine is asked to look."""


PATIENCE = 10
"""Epochs between two attempts to fall back in line, should one be in vain (an epoch that takes longer than its interval
to close looks the same from here)."""


class Cadence:
    """Tells the parts of one source on one worker when to wake so that their epochs end with everyone's.

    The interval is not told to sources: it is the shortest time seen between two ends, in whole seconds from one second
    on, as `bytewax.run` has them.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._interval: float | None = None
        self._ended: float | None = None
        self._open_since: float | None = None
        self._ahead = False
        self._patience = 0

    def ended(self) -> None:
        """An epoch of these parts ends: called by each of them, one after the other."""
        now = self._clock()
        if self._open_since is not None and self._ended is not None:
            since = now - self._ended
            self._interval = min(self._interval or since, since if since < 1 else floor(since))
        self._ended = now
        self._open_since = None

    def asked(self) -> None:
        """The engine asks a part for messages: the epoch is open."""
        if self._open_since is not None:
            return
        self._open_since = now = self._clock()
        self._patience -= 1
        overdue = self._interval is not None and self._ended is not None and now - self._ended >= self._interval
        self._ahead = overdue and self._patience < 0

    def awake(self, wanted: float) -> float:
        """When to wake instead of `wanted`, both in seconds from now (0: at once)."""
        if self._interval is None or self._ended is None or self._open_since is None:
            return wanted
        if self._interval < LEAST_INTERVAL_S:
            return wanted
        if self._ahead:
            # A whole epoch ahead of others: the engine ends this one at once, and the next ones too, each as soon as it
            # opens. To end one late gives the others the time to come first.
            self._patience = PATIENCE
            return self._interval * 1.25
        now = self._clock()
        earliest_end = self._ended + self._interval - now
        if earliest_end < 0 or wanted < earliest_end - MARGIN_S:
            return wanted  # the engine ends the epoch now, or it will not before the next look
        return self._open_since + self._interval + LATEST_S - now


def awake_at(seconds: float) -> datetime | None:
    """For the engine: the moment that many seconds from now, or None for at once."""
    return None if seconds <= 0 else datetime.now(UTC) + timedelta(seconds=seconds)
