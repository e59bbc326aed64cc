"""What a process has told its supervisor: the other end of `connectors.notify`."""

import json
from typing import NamedTuple

from connectors.notify import FAILED, REACHED, REFUSED, RESTART

Place = tuple[tuple[str, str | int], ...]


class Failure(NamedTuple):
    """A step that failed, and at which message: the pairs of its topic, partition and offset, or of its transaction_id
    and user_id; none where it could not be told."""

    step: str
    error: str
    at: Place


class Told:
    """What one process has told so far. `last` is when it told of progress (seconds of the monotonic clock)."""

    def __init__(self) -> None:
        self.reached = False
        self.ready = False
        self.epochs = 0
        self.last = float("-inf")
        self.refused: str | None = None
        self.restart: str | None = None
        self.failure: Failure | None = None

    def hear(self, message: bytes, now: float) -> None:
        """Take in one message, at `now`. What is not understood is passed over: others may speak the protocol too."""
        name, _, value = message.decode(errors="replace").partition("=")
        match name:
            case "WATCHDOG":
                self.epochs += 1
                self.last = now
            case "READY":
                self.ready = True
                self.last = now
            case name if name == REACHED:
                self.reached = True
                self.last = now
            case name if name == REFUSED:
                self.refused = str(json.loads(value))
            case name if name == RESTART:
                self.restart = str(json.loads(value))
            case name if name == FAILED and self.failure is None:  # what follows the first is its consequence
                failed = json.loads(value)
                self.failure = Failure(failed["step"], failed["error"], tuple(sorted(failed["at"].items())))
