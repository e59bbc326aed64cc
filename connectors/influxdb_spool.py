"""Lines that InfluxDB does not take now, kept on disk until it does: files of plain line protocol, oldest first.

A file is whole or not there (written aside, forced to disk, renamed), and deleted once all of it was taken. One that is
left by a process that died is sent by the next run from its beginning: a point that is written twice is one point.
"""

import fcntl
import logging
import os
from collections import deque
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import time_ns
from typing import IO

from prometheus_client import Gauge

log = logging.getLogger(__name__)

SUFFIX = ".lines"

WAITING = Gauge("fraud_influx_spool_bytes", "Bytes of points that wait on disk for InfluxDB")


class SpoolFull(RuntimeError):
    """There is no room for more lines."""


class Spool:
    """The files in one directory, which several processes may share. Not for several threads."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.directory = directory
        self._most = most_bytes
        self._sizes: dict[Path, int] = {}
        self._number = count()
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Make the directory, and take over what earlier runs have left: one process of a cluster does."""
        self.directory.mkdir(exist_ok=True)
        lock = (self.directory / "owner.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return
        self._lock = lock
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            self._sizes[path] = path.stat().st_size
        self._tell()
        if self._sizes:
            log.warning(
                "%d bytes of points that an earlier run has left in %s are sent first", self.size, self.directory
            )

    def close(self) -> None:
        """What is left is for the next that opens the directory."""
        self._sizes.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def size(self) -> int:
        """Bytes that wait, of what this process has to send."""
        return sum(self._sizes.values())

    def append(self, lines: Sequence[bytes]) -> None:
        """Keep lines; on return they are on disk. Raises SpoolFull; nothing of them is kept then."""
        content = b"\n".join(lines)
        if self.size + len(content) > self._most:
            raise SpoolFull(
                f"{self.size} bytes of points wait in {self.directory}, and FRAUD_INFLUX_SPOOL_BYTES allows no more"
            )
        path = self.directory / f"{time_ns():020d}-{os.getpid()}-{next(self._number)}{SUFFIX}"
        aside = path.with_suffix(".part")
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
            _sync_directory(self.directory)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise SpoolFull(f"points can't be kept in {self.directory}: {error.strerror or error}") from error
        self._sizes[path] = len(content)
        self._tell()

    def oldest(self) -> tuple[Path, deque[bytes]] | None:
        """The lines that came first, with the file they are in; None when nothing waits."""
        while self._sizes:
            path = next(iter(self._sizes))
            try:
                return path, deque(path.read_bytes().split(b"\n"))
            except FileNotFoundError:  # another process has sent it too
                self.sent(path)
        return None

    def sent(self, path: Path) -> None:
        """All of a file was taken."""
        path.unlink(missing_ok=True)
        self._sizes.pop(path, None)
        self._tell()

    def _tell(self) -> None:
        WAITING.set(self.size)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
