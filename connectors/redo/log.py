"""The redo log of one step in one worker, and that of each of its keys."""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from connectors.redo.chunks import Place
from connectors.redo.files import WrittenFile
from connectors.redo.manifest import Manifest, begin_record, end_record
from connectors.redo.store import RedoStore

CHUNK: Final = 64 << 10
"""Bytes that a key gathers before they are written."""
SMALL: Final = 64 << 10
"""Bytes of redo log that no base is written for, however small the state."""
MOST_FILES: Final = 120
"""Files of redo log that one key's state is made of at most, where it is given little in each of many epochs."""
KEPT_EPOCHS: Final = 2
"""For so many epochs what is superseded stays: the engine may go back to the one before the last that began."""
SHARE: Final = 0.1
"""Of the time, what a worker spends on bases: they are written one by one, with pauses in proportion."""


class Left(NamedTuple):
    """Files that snapshots are not made of any more since the end of an epoch, and the time of that."""

    epoch: int
    at: float
    files: list[str]


class RedoLog:
    """What a step's keys were given in this worker: one file an epoch. For the worker's thread only.

    An epoch ends with the snapshots of the keys that were given something; the next file is begun with the first record
    after that.
    """

    def __init__(self, store: RedoStore) -> None:
        self.store = store
        self._epoch = 0
        self._began_at = deque([time.monotonic()], maxlen=KEPT_EPOCHS + 1)
        self._ended = False
        self._file: WrittenFile | None = None
        self._left: deque[Left] = deque()
        self._next_base_at = 0.0

    def key(self, manifest: Manifest | None = None) -> "KeyLog":
        """The log of one key, which goes on from the manifest."""
        return KeyLog(self, manifest)

    @property
    def file(self) -> WrittenFile:
        """The file of this epoch."""
        if self._file is None or self._file.durable:
            self._file = self.store.new_file("redo")
        return self._file

    def begun(self) -> None:
        """A record comes: of a new epoch, if snapshots were taken since the last one."""
        if self._ended:
            self._ended, self._file = False, None
            self._epoch += 1
            now = time.monotonic()
            self._began_at.append(now)
            # The engine rounds the time that it keeps what is superseded up to whole epochs.
            before = now if not self.store.backup_s else self._began_at[0] - self.store.backup_s
            while self._left and self._left[0].epoch <= self._epoch - KEPT_EPOCHS and self._left[0].at <= before:
                self.store.release(self._left.popleft().files)
            self.store.look_for_unneeded()

    def ended(self, without: list[str]) -> None:
        """A snapshot is taken, the first one that is not made of the files `without` any more."""
        self._ended = True
        if without:
            self._left.append(Left(self._epoch, time.monotonic(), without))

    @property
    def may_write_base(self) -> bool:
        """Whether the last base is long enough ago."""
        return time.monotonic() >= self._next_base_at

    def wrote_base(self, seconds: float) -> None:
        """It took so long."""
        self._next_base_at = time.monotonic() + seconds * (1 / SHARE - 1)


class KeyLog:
    """One key's base and redo log. Give `append` what the key is given, `rebase` its state where `wants_base` says so.

    `snapshot` returns what the engine may keep: an object that makes the files durable when it is pickled, and becomes
    the manifest's bytes.
    """

    def __init__(self, log: RedoLog, manifest: Manifest | None = None) -> None:
        self._log = log
        self._store = log.store
        owner = int.from_bytes(os.urandom(8), "little")
        self._owner, self._base, self._redo = manifest or Manifest(owner, None, [])
        self._store.hold(place.file for place in [*([self._base] if self._base else []), *self._redo])
        self._buffer = bytearray()
        self._written_to: WrittenFile | None = None
        self._unfinished: dict[str, WrittenFile] = {}
        self._leaving: list[str] = []
        self._measure()

    def _measure(self) -> None:
        self._redo_size = sum(place.size for place in self._redo)
        self._base_at = max(self._base.size if self._base else 0, SMALL)

    def append(self, write: Callable[[Any, bytearray], None], values: Any) -> None:
        """Add a record: `write` puts it behind what is in the buffer. Raises StateNotWritten."""
        self._log.begun()
        buffer = self._buffer
        start = begin_record(buffer)
        write(values, buffer)
        end_record(buffer, start)
        if len(buffer) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        file = self._log.file
        before = None
        if file is self._written_to:
            before = self._redo.pop()
        else:
            self._written_to = self._unfinished[file.name] = file
            self._store.hold([file.name])
        place = file.append(self._owner, self._buffer, before)
        self._redo.append(place)
        self._redo_size += place.size - (before.size if before else 0)
        self._buffer.clear()
        self._store.written(file)

    @property
    def wants_base(self) -> bool:
        """Whether what lies in the redo log has outgrown the base, and it is this key's turn."""
        due = self._redo_size > self._base_at or len(self._redo) > MOST_FILES
        return due and self._log.may_write_base

    def rebase(self, encode: Callable[[], bytes]) -> None:
        """Write the whole state, as of all records appended; the redo log begins anew. Raises StateNotWritten."""
        began = time.monotonic()
        state = encode()
        file = self._store.new_file("base")
        base: Place = file.append(self._owner, state, None)
        self._store.written(file, complete=True)
        self._leaving += [place.file for place in [*([self._base] if self._base else []), *self._redo]]
        self._store.hold([file.name])
        self._unfinished[file.name] = file
        self._base, self._redo, self._written_to = base, [], None
        self._buffer.clear()
        self._measure()
        self._log.wrote_base(time.monotonic() - began)

    def snapshot(self) -> "Snapshot":
        """The state as of all records appended. Raises StateNotWritten."""
        if self._buffer:
            self._flush()
        self._log.ended(self._leaving)
        self._leaving = []
        unfinished = tuple(self._unfinished.values())
        self._unfinished.clear()
        return Snapshot(self._store, Manifest(self._owner, self._base, self._redo).encode(), unfinished)


class Snapshot:
    """A manifest whose files are made durable when the engine pickles it; the first of an epoch does it for all."""

    def __init__(self, store: RedoStore, manifest: bytes, files: tuple[WrittenFile, ...]) -> None:
        self.manifest = manifest
        self._store = store
        self._files = files

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        self._store.finish(self._files)
        return bytes, (self.manifest,)
