"""The engine's recovery directory: owned by one run at a time, and only continued by a flow that it fits.

The engine itself lets a second instance start on a directory, and starts a step that it finds no state for from
nothing; both would go unnoticed.
"""

import argparse
import fcntl
import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple

from bytewax.recovery import init_db_dir

_held: list[IO[str]] = []
"""Locks last as long as the process."""


class RecoveryRefused(RuntimeError):
    """This run may not use the recovery directory; the message says why and what to do."""


class Run(NamedTuple):
    """This process as part of a run: its recovery directory (None without one), its number, how many processes there
    are, and for how many seconds the engine keeps what is superseded."""

    directory: Path | None = None
    process: int = 0
    processes: int = 1
    backup: float = 0.0

    @classmethod
    def of(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> "Run":
        """As `bytewax.run` reads its arguments and environment."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)

        def add(short: str, name: str, variable: str, **options: Any) -> None:
            parser.add_argument(short, f"--{name}", default=environment.get(f"BYTEWAX_{variable}"), **options)

        add("-r", "recovery-directory", "RECOVERY_DIRECTORY", type=Path)
        add("-i", "process-id", "PROCESS_ID", type=int)
        add("-a", "addresses", "ADDRESSES")
        add("-b", "backup-interval", "RECOVERY_BACKUP_INTERVAL", type=float)
        known, _ = parser.parse_known_args(list(arguments))
        processes = 1
        if known.addresses:
            processes = len(known.addresses.split(";"))
        elif hosts := environment.get("BYTEWAX_HOSTFILE_PATH"):
            processes = sum(bool(line.strip()) for line in Path(hosts).read_text().splitlines())
        return cls(known.recovery_directory, known.process_id or 0, processes, known.backup_interval or 0.0)


PARTITIONS = 4
"""Of a directory that is made here. State is a few hundred rows, and each partition costs an fsync an epoch."""


def make(directory: Path) -> None:
    """Make `directory` one that the engine can use, unless it is. Raises OSError where that can't be done."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(directory.glob("part-*.sqlite3")):
        return
    with TemporaryDirectory(dir=directory) as unfinished:
        init_db_dir(Path(unfinished), PARTITIONS)  # type: ignore[no-untyped-call]
        for path in sorted(Path(unfinished).iterdir()):
            path.rename(directory / path.name)


def lock(directory: Path, process: int, processes: int = 1) -> None:
    """Own `directory` for as long as this process lives, as number `process` of the run's `processes`.

    Number 0 takes those of a larger run before it, too. Raises RecoveryRefused with the owner's process id when another
    run has it, or where it is no recovery directory.
    """
    if not any(directory.glob("part-*.sqlite3")):
        how = f"mkdir -p {directory} && python -m bytewax.recovery {directory} 4"
        raise RecoveryRefused(f"{directory} is not a recovery directory yet. To make it one: {how}")
    _lock(directory, process)
    if process == 0:
        for path in directory.glob("owner-*.lock"):
            number = path.stem.removeprefix("owner-")
            if number.isdigit() and int(number) >= processes:
                _lock(directory, int(number))


def _lock(directory: Path, process: int) -> None:
    file = (directory / f"owner-{process}.lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise RecoveryRefused(
            f"{directory} is in use by process {owner}: two runs on one recovery directory would spoil it. "
            "Stop that one first, or give this one a directory of its own"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held.append(file)


def owners(directory: Path) -> dict[int, str]:
    """The process ids that last owned the directory, by the process' number. Whether they still do, `lock` tells."""
    return {
        int(path.stem.removeprefix("owner-")): path.read_text().strip()
        for path in sorted(directory.glob("owner-*.lock"))
        if path.stem.removeprefix("owner-").isdigit()
    }


def reset(directory: Path) -> None:
    """Make it an empty recovery directory again, with as many partitions. Call it with all locks held.

    What stays is how far topics were written when the directory was first used: alerts that are in their topic already
    are not written again. Raises RecoveryRefused where something can't be deleted.
    """
    stores = sorted(directory.glob("part-*.sqlite3"))
    try:
        for path in [*directory.glob("part-*.sqlite3*"), *directory.glob("state/*")]:
            path.unlink()
    except OSError as error:
        raise RecoveryRefused(f"{error.filename} can't be deleted: {error.strerror}") from error
    init_db_dir(directory, len(stores))  # type: ignore[no-untyped-call]


def stored_keys(directory: Path) -> dict[str, set[str]]:
    """The state keys that are stored for each step id. Raises RecoveryRefused where a file can't be read."""
    keys: dict[str, set[str]] = {}
    for path in sorted(directory.glob("part-*.sqlite3")):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
                query = "SELECT DISTINCT step_id, state_key FROM snaps WHERE ser_change IS NOT NULL"
                for step, key in store.execute(query):
                    keys.setdefault(step, set()).add(key)
        except sqlite3.Error as error:
            raise RecoveryRefused(
                f"{path} can't be read: {error}. Put back a copy of the whole directory, or begin with an empty one"
            ) from error
    return keys


def check(directory: Path, steps: Collection[str], expected: Mapping[str, Collection[str]]) -> None:
    """Refuse a directory whose state this flow would not find again.

    `steps` are the ids that the flow can have, `expected` the only keys that some of them can have, with the setting
    they come from behind a colon: `{"fraud.decide:FRAUD_SHARDS": [...]}`. Raises RecoveryRefused.
    """
    stored = stored_keys(directory)
    strange = sorted(set(stored) - set(steps))
    if strange:
        raise RecoveryRefused(
            f"{directory} holds state of {', '.join(strange)}, which this flow does not have: it was written by "
            "another version. Run that version on it, or begin with an empty recovery directory"
        )
    for place, keys in expected.items():
        step, _, setting = place.partition(":")
        surplus = sorted(stored.get(step, set()) - set(keys))
        if surplus:
            raise RecoveryRefused(
                f"{directory} holds state of {step} for {', '.join(surplus[:3])}, which does not fit {setting} as it "
                "is set now. Set it as it was, or begin with an empty recovery directory"
            )
