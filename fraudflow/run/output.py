"""What the processes print: each line with the number of its process, and kept in files where that is wanted."""

import sys
from pathlib import Path
from threading import Lock
from typing import IO

LARGEST_FILE = 20_000_000
"""Bytes of a file of output before it is begun anew; the one before is kept as `.1`."""


class Output:
    """Lines to standard error, and to `process-N.log` in `folder`. For several threads."""

    def __init__(self, processes: int, folder: Path | None) -> None:
        """Makes the folder. Raises OSError where it can't be written."""
        self._lock = Lock()
        self._prefixes = [b"[%d] " % number if processes > 1 else b"" for number in range(processes)]
        self._files: dict[int, IO[bytes]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = {number: (folder / f"process-{number}.log").open("ab") for number in range(processes)}

    def write(self, number: int, line: bytes) -> None:
        """One line of process `number`."""
        with self._lock:
            sys.stderr.buffer.write(self._prefixes[number] + line)
            sys.stderr.buffer.flush()
            if number in self._files:
                self._keep(number, line)

    def _keep(self, number: int, line: bytes) -> None:
        file = self._files[number]
        file.write(line)
        file.flush()
        if file.tell() > LARGEST_FILE:
            file.close()
            path = Path(file.name)
            path.replace(path.with_suffix(".log.1"))
            self._files[number] = path.open("ab")

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
