"""A system clock that is put back: the engine's timers are wall-clock times, so nothing would be read until the clock
is where it was before. Measured: put back by an hour, a flow stood still until it was ended.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_S = 0.5
TOLERATED_S = 2.0
"""Put back by less, the flow stands still for so long, and goes on by itself."""

EXIT_CODE = 75
"""A restart helps (EX_TEMPFAIL)."""


class ClockWatch:
    """Compares the system clock with the steady one. A clock that is put forward harms nothing."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()

    def put_back(self) -> float:
        """By how many seconds the clock was put back since the last look; 0 where it was not."""
        before, self._ahead = self._ahead, self._wall() - self._steady()
        return max(0.0, before - self._ahead)

    def start(self) -> None:
        """Look from now on, in a thread; end the process when it must be started again: at once, as a crash would."""
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S)
            seconds = self.put_back()
            if seconds > TOLERATED_S:
                log.critical("the system clock was put back by %.1f s: ends, to be started again", seconds)
                os._exit(EXIT_CODE)
