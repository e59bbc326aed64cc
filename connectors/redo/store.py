"""The folder of the redo log's files: a process makes files in it, makes them durable, and deletes what nothing needs.

What the engine goes back to after a crash is never older than the epoch before the last one that began. So a file that
this run has made is deleted when no key's manifest has named it for two epochs and the time that the engine keeps what
is superseded; one of an earlier run when nothing that the engine has stored names it. Each process deletes those of its
own number.
"""

import logging
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, Literal

from connectors.redo.chunks import FOLDER
from connectors.redo.files import StateNotWritten, WrittenFile
from connectors.redo.named import named_files

log = logging.getLogger(__name__)

SYNC_EVERY: Final = 4 << 20
"""Bytes after which a file is synced in the background: what is left for the end of an epoch is less."""
LOOK_EVERY_S: Final = 300.0
"""Pauses between looks for what earlier runs have left: each costs .2 s of another processor."""
ROOT: Final = Path(__file__).parent.parent.parent
_NAME: Final = re.compile(r"p(\d+)-[0-9a-f]+-\d+\.(redo|base)")


class RedoStore:
    """The files in `directory`/state that this process makes, as number `process` of `processes`.

    Raises StateNotWritten where there is no room or no permission. Use from several threads.
    """

    def __init__(self, directory: Path, process: int = 0, processes: int = 1, backup_s: float = 0) -> None:
        """`backup_s` is how long the engine keeps what is superseded."""
        self.recovery = directory
        self.backup_s = backup_s
        self.folder = directory / FOLDER
        self._process, self._processes = process, processes
        self._run = os.urandom(6).hex()
        self._numbers = count()
        self._lock = Lock()
        self._holders: Counter[str] = Counter()
        self._released: set[str] = set()
        self._inherited: set[str] = set()
        self._dirty = True
        self._unsynced: dict[str, int] = {}
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: Thread | None = None
        self._look_at = time.monotonic() + LOOK_EVERY_S
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _sync(directory)
        except OSError as error:
            raise StateNotWritten(self.folder, error) from error

    # --- writing

    def new_file(self, kind: Literal["redo", "base"]) -> WrittenFile:
        """A file of a name that was never used."""
        file = WrittenFile(self.folder / f"p{self._process}-{self._run}-{next(self._numbers):06d}.{kind}")
        self._dirty = True
        return file

    def written(self, file: WrittenFile, complete: bool = False) -> None:
        """More is in the file: now and then it is synced in the background."""
        if complete or file.size - self._unsynced.get(file.name, 0) >= SYNC_EVERY:
            self._unsynced[file.name] = file.size
            self._do(file.sync)

    def finish(self, files: Iterable[WrittenFile]) -> None:
        """Make the files durable, and their names. Raises StateNotWritten."""
        for file in files:
            if not file.durable:
                file.finish()
                self._unsynced.pop(file.name, None)
        if self._dirty:
            self._dirty = False
            try:
                _sync(self.folder)
            except OSError as error:
                raise StateNotWritten(self.folder, error) from error

    # --- deleting

    def hold(self, names: Iterable[str]) -> None:
        """A key's state is made of these files: release each as often as it was held."""
        with self._lock:
            self._holders.update(names)

    def release(self, names: Iterable[str]) -> None:
        """A key's state is not made of these files any more, for two epochs."""
        with self._lock:
            for name in names:
                self._holders[name] -= 1
                if self._holders[name] <= 0:
                    del self._holders[name]
                    self._released.add(name)

    def look_for_unneeded(self) -> None:
        """A good time to delete, in the background, what is released, and now and then what earlier runs have left."""
        with self._lock:
            inherited = bool(self._inherited) and time.monotonic() >= self._look_at
            if inherited:
                self._look_at = time.monotonic() + LOOK_EVERY_S
            if inherited or self._released:
                self._do(self._delete_inherited if inherited else self._delete_released)

    def sweep(self) -> None:
        """Delete what this process' number has left, as of what the engine has stored. For the start of a run, before
        the engine is started; process 0 also takes what processes that there are no longer have left."""
        named = named_files(self.recovery)
        mine = {path.name for path in self.folder.iterdir() if self._is_mine(path.name)}
        self._delete(mine - named)
        self._inherited = mine & named

    def _is_mine(self, name: str) -> bool:
        found = _NAME.fullmatch(name)
        if found is None:
            return False
        number = int(found[1])
        return number == self._process or (self._process == 0 and number >= self._processes)

    def _delete_released(self) -> None:
        with self._lock:
            gone, self._released = self._released, set()
            gone -= self._inherited  # another process may need them
        self._delete(gone)

    def _delete_inherited(self) -> None:
        """What earlier runs have left is asked for in another process: a second SQLite library in this one, which has
        the engine's open, would take its locks away by closing the file."""
        command = [sys.executable, "-m", "connectors.redo.named", str(self.recovery)]
        asked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if asked.returncode:
            log.warning("files of earlier runs stay for now: %s", asked.stderr.strip()[-500:])
            return
        with self._lock:
            gone = self._inherited - self._holders.keys() - set(asked.stdout.split())
            self._inherited -= gone
        self._delete(gone)

    def _delete(self, names: Collection[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                (self.folder / name).unlink()

    # --- in the background

    def _do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = Thread(target=self._work, name="redo-log", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except OSError as error:
                log.warning("files of earlier state stay for now: %s", error)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
