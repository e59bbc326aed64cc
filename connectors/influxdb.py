"""Points into InfluxDB: lines wait a quarter of a second for company; an epoch closes when all are stored, or on disk.

What it does on error: with a spool a server that is away, slow or refuses stops and delays nothing. Its points wait on
disk and are sent, in order, once it takes them; the log says so. Without one the flow stops at the deadline.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from prometheus_client import Counter

from connectors.influxdb_spool import Spool, SpoolFull
from connectors.influxdb_writer import InfluxRefused, InfluxUnavailable, InfluxWriter, RejectedLine, Target
from connectors.line_protocol import encode

__all__ = ["InfluxRefused", "InfluxSink", "InfluxUnavailable", "LineQueue", "RejectedLine", "Target", "encode"]

log = logging.getLogger(__name__)

PARTS = 4
"""Parts of a sink. Their names are in the recovery store, so this number stays."""

LINES_A_REQUEST, BYTES_A_REQUEST = 5_000, 1_000_000
MOST_WAITING_BYTES = 32_000_000
SPOOLED_BEYOND_BYTES = 8_000_000
"""In memory; with a spool more goes to disk at once."""
INTERVAL_S = 0.25

PATIENCE_S = 0.5
"""How long an epoch's end waits for a server that has kept up so far, before its lines go to the spool."""

REFUSED_PAUSE_S = 15.0
"""Until a server that refuses (a wrong token) is asked again."""

REJECTED = Counter("fraud_influx_rejected_lines", "Lines that InfluxDB will never take")
WRITTEN = Counter("fraud_influx_written_lines", "Lines that InfluxDB has stored")


class LineQueue:
    """Lines on their way to InfluxDB, and the one thread of the process that writes them.

    With a `spool`, `flush` returns when all lines put so far are stored, rejected or on disk, after half a second at
    most; SpoolFull is all that it raises, as InfluxUnavailable. Without one `put` returns at once while fewer than
    32 MB wait, and `flush` when all lines are stored or rejected; what stops the writer (InfluxUnavailable,
    InfluxRefused) is raised by both.
    """

    def __init__(
        self,
        target: Target,
        *,
        deadline: float = 60.0,
        spool: Spool | None = None,
        on_rejected: Callable[[list[RejectedLine]], None] | None = None,
    ) -> None:
        """`on_rejected` is called by the thread that puts or flushes, before `flush` returns."""
        self._target = target
        self._deadline = inf if spool else deadline
        self._spool = spool
        self._on_rejected = on_rejected
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._users = 0
        self._lines: deque[bytes] = deque()
        self._in_flight: Sequence[bytes] = ()
        self._from_disk: tuple[Path, deque[bytes]] | None = None
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
                if self._spool is not None:
                    self._spool.open()
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
            if self._spool is not None:
                if self._spool.size:
                    where = self._spool.directory
                    log.warning("%d bytes of points wait in %s: the next run sends them", self._spool.size, where)
                self._spool.close()

    def put(self, lines: Iterable[bytes]) -> None:
        """Take lines; empty ones (points without a field) are left out. Without a spool it waits while too many are
        under way."""
        with self._changed:
            for line in lines:
                if line:
                    self._lines.append(line)
                    self._waiting_bytes += len(line)
                    self._put += 1
            self._changed.notify_all()
            if self._spool is None:
                self._changed.wait_for(lambda: self._failure or self._waiting_bytes < MOST_WAITING_BYTES)
            elif self._waiting_bytes > SPOOLED_BEYOND_BYTES:
                self._to_disk()
        self._report()

    def flush(self) -> None:
        """Wait until every line so far is stored or rejected; with a spool, on disk."""
        with self._changed:
            target = self._put
            self._urgent = True
            self._changed.notify_all()
            patience = None if self._spool is None else 0.0 if self._is_behind else PATIENCE_S
            stored = self._changed.wait_for(lambda: self._failure or self._done >= target, patience)
            if not stored:
                self._to_disk()
        self._report()

    @property
    def _is_behind(self) -> bool:
        return self._spool is not None and self._spool.size > 0

    def _to_disk(self) -> None:
        """All lines in memory into the spool, those that are being written among them: they may not arrive."""
        assert self._spool is not None
        lines = [*self._in_flight, *self._lines]
        if not lines:
            return
        if not self._is_behind:
            log.warning("InfluxDB (%s) does not keep up: points wait in %s", self._target, self._spool.directory)
        try:
            self._spool.append(lines)
        except SpoolFull as error:
            raise InfluxUnavailable(f"InfluxDB ({self._target}) takes nothing, and {error}") from error
        self._in_flight = ()
        self._lines.clear()
        self._waiting_bytes = 0
        self._done = self._put
        self._changed.notify_all()

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
                self._finished(chunk, self._write(writer, chunk))
            writer.close()
        except Exception as error:  # noqa: BLE001  whatever it is: the thread that waits raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _write(self, writer: InfluxWriter, chunk: Sequence[bytes]) -> list[RejectedLine]:
        """Until it is stored or rejected. Refused settings are tried again too where the lines are safe meanwhile."""
        while True:
            try:
                return writer.write(chunk)
            except InfluxRefused as error:
                if self._spool is None:
                    raise
                log.error("%s; tried again every %g s", error, REFUSED_PAUSE_S)
                if self._stopped.wait(REFUSED_PAUSE_S):
                    raise

    def _next_chunk(self) -> Sequence[bytes]:
        """The next lines to write: those on disk first, to keep the order; at once when many wait or someone does, else
        after a pause. Empty when stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_behind or self._stopped.is_set())
            if self._stopped.is_set():
                return []
            if self._spool is not None and self._from_disk is None:
                self._from_disk = self._spool.oldest()
            if self._from_disk is not None:
                return _chunk(self._from_disk[1])
            self._changed.wait_for(lambda: self._urgent or len(self._lines) >= LINES_A_REQUEST, INTERVAL_S)
            self._in_flight = _chunk(self._lines)
            if not self._lines:
                self._urgent = False
            return self._in_flight

    def _finished(self, chunk: Sequence[bytes], rejected: list[RejectedLine]) -> None:
        for line, reason in rejected:
            log.error("InfluxDB rejects a point (%s): %s", reason, line.decode(errors="replace"))
        REJECTED.inc(len(rejected))
        WRITTEN.inc(len(chunk) - len(rejected))
        with self._changed:
            if chunk is self._in_flight:  # else it came from disk, or has gone there
                self._in_flight = ()
                self._done += len(chunk)
                self._waiting_bytes -= sum(map(len, chunk))
            elif self._from_disk is not None and not self._from_disk[1]:
                assert self._spool is not None
                self._spool.sent(self._from_disk[0])
                self._from_disk = None
                if not self._is_behind:
                    log.info("InfluxDB (%s) has all points again", self._target)
            self._rejected += rejected
            self._changed.notify_all()


def _chunk(lines: deque[bytes]) -> Sequence[bytes]:
    """The next request's lines, taken off the left."""
    return list(islice(_up_to(lines, BYTES_A_REQUEST), LINES_A_REQUEST))


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

    An epoch's snapshot waits until its lines are stored, or in the queue's spool; where there is none and InfluxDB
    takes nothing until the deadline the flow stops with InfluxUnavailable, and a restart writes them again. At least
    once: the same point twice is one point.
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
