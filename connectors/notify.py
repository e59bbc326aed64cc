"""What a process of the flow tells whoever supervises it, in systemd's protocol (sd_notify(3)): one datagram a message
to the socket that NOTIFY_SOCKET names. Without one nothing is sent, and it costs nothing.

| message | when |
| --- | --- |
| `READY=1` | transactions are read |
| `WATCHDOG=1` | an epoch has ended, at most five times a second |
| `STOPPING=1` | the flow drains |
| `X_FRAUDFLOW_REACHED=1` | the sources were reached: brokers answer, topics are there |
| `X_FRAUDFLOW_REFUSED=text` | why the flow can't go on until someone changes something |
| `X_FRAUDFLOW_FAILED=object` | which step failed at which message |
| `X_FRAUDFLOW_RESTART=text` | why the flow should be drained and started again |

A systemd unit understands the first three, `python -m fraudflow run` all. Values are JSON, so that they hold no line
break. Nothing that goes wrong here stops or delays the flow.
"""

import contextlib
import json
import os
import socket
from functools import lru_cache
from time import monotonic

SOCKET = "NOTIFY_SOCKET"

REACHED, REFUSED, FAILED, RESTART = (f"X_FRAUDFLOW_{name}" for name in ("REACHED", "REFUSED", "FAILED", "RESTART"))

BETWEEN_EPOCHS_S = 0.2
LONGEST = 8_000
"""Characters of a text."""


class Notifier:
    """Sends messages to the socket at `address`; None: to nobody. May be used by several threads."""

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        self._told: set[str] = set()
        self._last_epoch = float("-inf")
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(1.0)
            with contextlib.suppress(OSError):
                # A leading @ stands for the abstract namespace.
                self._socket.connect("\0" + address[1:] if address.startswith("@") else address)

    def _send(self, message: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(message.encode(errors="replace"))

    def _once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._send(message)

    def reached(self) -> None:
        """Brokers answer, and the topics are there."""
        self._once(f"{REACHED}=1")

    def ready(self) -> None:
        """Transactions are read."""
        self._once("READY=1")

    def stopping(self) -> None:
        """The flow drains."""
        self._once("STOPPING=1")

    def epoch(self) -> None:
        """An epoch has ended."""
        now = monotonic()
        if now - self._last_epoch >= BETWEEN_EPOCHS_S:
            self._last_epoch = now
            self._send("WATCHDOG=1")

    def refused(self, why: str) -> None:
        """No restart helps: someone must change something."""
        self._send(f"{REFUSED}={json.dumps(why[:LONGEST])}")

    def restart(self, why: str) -> None:
        """The flow should be drained and started again."""
        self._send(f"{RESTART}={json.dumps(why[:LONGEST])}")

    def failed(self, step: str, error: str, at: dict[str, str | int]) -> None:
        """A step failed; `at` tells the message: its topic, partition and offset, its transaction_id and user_id, or
        nothing."""
        self._send(f"{FAILED}={json.dumps({'step': step, 'error': error[:LONGEST], 'at': at})}")


@lru_cache(maxsize=1)
def notifier() -> Notifier:
    """That of this process, as its environment has it."""
    return Notifier(os.environ.get(SOCKET))
