"""How a running flow is asked to end, and how its sources agree on when they do."""

import logging
import os
import signal
import threading
import time
from types import FrameType

from connectors.notify import notifier

log = logging.getLogger(__name__)

PARENT = "FRAUDFLOW_SUPERVISOR"
"""The environment's name for the process that this one is to end with."""

PATIENCE_S = 10.0
"""How long a control source waits for a main part to appear in its process before it takes it that none will."""

HEAD_START_S = 1.0
"""How long main parts wait for a part that is read first to appear in their process."""


class Drain:
    """Shared by all sources of one process: a request to end, and how far the main and the control sources are.

    Once `requested`, every source part ends at its next poll; the engine then finishes what is under way, takes a last
    snapshot and exits with 0. A control source (rules, models, labels) would keep a flow alive for ever, so with
    `stop_at_end` it ends when the main parts of its process have. Rules and models are read first: main parts wait at
    their start for what these topics hold. Processes of a cluster do not see each other: each needs its own signal.
    """

    def __init__(self) -> None:
        self._requested = False
        self._lock = threading.Lock()
        self._main_seen = False
        self._main_open = 0
        self._ended_asked: float | None = None
        self._first_expected = False
        self._first_seen = False
        self._first_behind = 0
        self._waiting_since: float | None = None

    @property
    def requested(self) -> bool:
        """Whether sources are to end now."""
        return self._requested

    def request(self) -> None:
        """Ask every source to end at its next poll. May be called from any thread, and again."""
        self._requested = True

    def end_with_parent(self) -> None:
        """Request it where the supervisor is gone: what it started would go on, owned by nobody."""
        parent = os.environ.get(PARENT)
        if parent and int(parent) != os.getppid() and not self._requested:
            log.warning("the supervisor, process %s, is gone: no more is read", parent)
            self.request()

    def install(self) -> None:
        """Drain on SIGTERM and SIGINT; a second signal of the same kind ends the process at once. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.warning("%s: no more is read; ends when what is under way is done", signal.Signals(number).name)
        self.request()
        notifier().stopping()
        signal.signal(number, self._force)

    @staticmethod
    def _force(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def main_opened(self) -> None:
        """A main part begins in this process."""
        with self._lock:
            self._main_seen = True
            self._main_open += 1

    def main_ended(self) -> None:
        """A main part of this process has ended."""
        with self._lock:
            self._main_open -= 1

    @property
    def mains_have_ended(self) -> bool:
        """Whether every main part of this process has ended, or none came in time: then other processes have them."""
        if self._main_seen:
            return self._main_open == 0
        if self._ended_asked is None:
            self._ended_asked = time.monotonic()
        return time.monotonic() - self._ended_asked > PATIENCE_S

    def expect_first(self) -> None:
        """There is a source that main parts wait for at their start."""
        self._first_expected = True

    def first_opened(self) -> None:
        """A part that main parts wait for begins in this process."""
        with self._lock:
            self._first_seen = True
            self._first_behind += 1

    def first_done(self) -> None:
        """It has handed out what its topic held when it began."""
        with self._lock:
            self._first_behind -= 1

    @property
    def mains_must_wait(self) -> bool:
        """Whether a part that is read first is behind, or may yet begin: the engine builds parts in no set order."""
        if self._first_seen or not self._first_expected:
            return self._first_behind > 0
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        return time.monotonic() - self._waiting_since < HEAD_START_S
