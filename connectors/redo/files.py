"""Files that this process is writing."""

import os
from pathlib import Path
from threading import Lock

from connectors.recovery import RecoveryRefused
from connectors.redo.chunks import FILE_HEADER, Place, chunk_header


class StateNotWritten(RecoveryRefused):
    """State can't be made durable: the flow must stop, and goes on from the last snapshot when it is started again."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path} can't be written: {error.strerror or error}. Make room on its disk, or see to its permissions, "
            "and start the flow again: it goes on from the last snapshot"
        )


class WrittenFile:
    """Made exclusively and private, appended to, made durable, closed; never opened for writing again.

    One thread appends. Any thread may call `sync`, which may run beside it, so that little is left for the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.size = 0
        self.durable = False
        self._synced = 0
        self._lock = Lock()
        self._error: OSError | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StateNotWritten(path, error) from error
        self._write(FILE_HEADER)

    def append(self, owner: int, content: bytes | bytearray, before: Place | None) -> Place:
        """Write a chunk behind the owner's chunk `before` in this file. Raises StateNotWritten."""
        header, checksum = chunk_header(owner, content, before)
        offset = self.size
        self._write(header)
        self._write(content)
        size = len(header) + len(content) + (before.size if before else 0)
        return Place(self.name, offset, checksum, size)

    def _write(self, content: bytes | bytearray) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise StateNotWritten(self.path, error) from error
        self.size += len(content)

    def sync(self) -> None:
        """What was written so far is on the disk when it returns, or `finish` will raise."""
        with self._lock:
            size = self.size
            if self.durable or self._error or self._synced == size:
                return
            try:
                os.fdatasync(self._file)
                self._synced = size
            except OSError as error:  # once only: the system forgets that pages were lost
                self._error = error

    def finish(self) -> None:
        """Make all of it durable, and close it. Raises StateNotWritten."""
        self.sync()
        with self._lock:
            if self._error:
                raise StateNotWritten(self.path, self._error)
            if not self.durable:
                self.durable = True
                os.close(self._file)
