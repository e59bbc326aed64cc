"""Points into InfluxDB: lines wait a quarter of a second for company, and an epoch closes only when all are stored."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from prometheus_client import Counter

from connectors.influxdb_writer import InfluxRefused, InfluxUnavailable, InfluxWriter, RejectedLine, Target
from connectors.line_protocol import encode

__all__ = ["InfluxRefused", "InfluxSink", "InfluxUnavailable", "LineQueue", "RejectedLine", "Target", "encode"]

log = logging.getLogger(__name__)

PARTS = 4
"""Parts of a sink. Their names are in the recovery store, so this number stays."""

LINES_A_REQUEST, BYTES_A_REQUEST = 5_000, 1_000_000
MOST_WAITING_BYTES = 32_000_000
INTERVAL_S = 0.25

REJECTED = Counter("fraud_influx_rejected_lines", "Lines that InfluxDB will never take")
WRITTEN = Counter("fraud_influx_written_lines", "Lines that InfluxDB has stored")


class LineQueue:
    """Lines on their way to InfluxDB, and the one thread of the process that writes them.

    `put` returns at once while fewer than 32 MB wait, so that a slow server delays no alert; `flush` returns when all
    lines put so far are stored or rejected. What stops the writer (InfluxUnavailable, InfluxRefused) is raised by both.
    """

    def __init__(
        self,
        target: Target,
        *,
        deadline: float = 60.0,
        on_rejected: Callable[[list[RejectedLine]], None] | None = None,
    ) -> None:
        """`on_rejected` is called by the thread that puts or flushes, before `flush` returns."""
        self._target = target
        self._deadline = deadline
        self._on_rejected = on_rejected
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._users = 0
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._put = self._done = 0
        self._urgent = False
        self._failure: Exception | None = None
        self._rejected: list[RejectedLine] = []

    def open(self) -> None:
        """One more user; the first one starts the writer."""
        with self._changed:
            self._users += 1
            if self._thread is None:
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="influxdb", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """One user fewer; the last one stops the writer.

        Does not flush: the snapshot before has, and in a crash a restart repeats what is left.
        """
        with self._changed:
            self._users -= 1
            thread = self._thread if self._users == 0 else None
            if thread is not None:
                self._thread = None
                self._stopped.set()
                self._changed.notify_all()
        if thread is not None:
            thread.join(1.0)

    def put(self, lines: Iterable[bytes]) -> None:
        """Take lines; empty ones (points without a field) are left out. Waits while too many are under way."""
        with self._changed:
            for line in lines:
                if line:
                    self._lines.append(line)
                    self._waiting_bytes += len(line)
                    self._put += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or self._waiting_bytes < MOST_WAITING_BYTES)
        self._report()

    def flush(self) -> None:
        """Wait until every line so far is stored or rejected."""
        with self._changed:
            target = self._put
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or self._done >= target)
        self._report()

    def _report(self) -> None:
        with self._changed:
            rejected, self._rejected = self._rejected, []
            failure = self._failure
        if rejected and self._on_rejected:
            self._on_rejected(rejected)
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            writer = InfluxWriter(self._target, deadline=self._deadline, wait=self._stopped.wait)
            while chunk := self._next_chunk():
                self._finished(chunk, writer.write(chunk))
            writer.close()
        except Exception as error:  # noqa: BLE001  whatever it is: the thread that waits raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _next_chunk(self) -> Sequence[bytes]:
        """The next lines to write: at once when many wait or someone does, else after a pause. Empty when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._stopped.is_set())
            if self._stopped.is_set():
                return []
            self._changed.wait_for(lambda: self._urgent or len(self._lines) >= LINES_A_REQUEST, INTERVAL_S)
            chunk = list(islice(_up_to(self._lines, BYTES_A_REQUEST), LINES_A_REQUEST))
            if not self._lines:
                self._urgent = False
            return chunk

    def _finished(self, chunk: Sequence[bytes], rejected: list[RejectedLine]) -> None:
        for line, reason in rejected:
            log.error("InfluxDB rejects a point (%s): %s", reason, line.decode(errors="replace"))
        REJECTED.inc(len(rejected))
        WRITTEN.inc(len(chunk) - len(rejected))
        with self._changed:
            self._done += len(chunk)
            self._waiting_bytes -= sum(map(len, chunk))
            self._rejected += rejected
            self._changed.notify_all()


def _up_to(lines: deque[bytes], most_bytes: int) -> Iterable[bytes]:
    """Take lines off the left until they are `most_bytes` together; at least one."""
    taken = 0
    while lines and taken < most_bytes:
        line = lines.popleft()
        taken += len(line)
        yield line


class _InfluxPart(StatefulSinkPartition[list[bytes], None]):
    def __init__(self, queue: LineQueue) -> None:
        self._queue = queue
        queue.open()

    def write_batch(self, values: list[list[bytes]]) -> None:
        for lines in values:
            self._queue.put(lines)

    def snapshot(self) -> None:
        self._queue.flush()

    def close(self) -> None:
        self._queue.close()


class InfluxSink(FixedPartitionedSink[list[bytes], None]):
    """Writes items `(key, lines)`, lines as `encode` makes them. A point is visible within half a second.

    An epoch's snapshot waits until its lines are stored; where InfluxDB takes nothing until the deadline the flow stops
    with InfluxUnavailable, and a restart writes them again. At least once: the same point twice is one point.
    """

    def __init__(self, queue: LineQueue) -> None:
        self._queue = queue

    def list_parts(self) -> list[str]:
        """The same parts on every worker; the engine spreads them."""
        return [f"{number:02d}" for number in range(PARTS)]

    def part_fn(self, item_key: str) -> int:
        """The same on every worker and in every run."""
        return crc32(item_key.encode())

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _InfluxPart:
        """A part holds nothing between epochs."""
        return _InfluxPart(self._queue)
