"""What the engine has stored in its recovery directory, read beside it and without unpickling anything."""

import pickletools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from connectors.recovery import RecoveryRefused

_HARMLESS: Final = frozenset(
    ("PROTO", "FRAME", "MEMOIZE", "SHORT_BINUNICODE", "STACK_GLOBAL", "TUPLE1", "REDUCE", "STOP")
)
_BYTES: Final = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"))
_NUMBERS: Final = frozenset(("BININT", "BININT1", "BININT2", "LONG1"))


class Row(NamedTuple):
    """What one key of a step was at the end of an epoch. `stored_at` is UTC; `value` the step's own bytes, or the
    digits of a number (a source's offset); empty where it is neither, or the key had ended."""

    step: str
    key: str
    epoch: int
    stored_at: datetime
    value: bytes


class Resume(NamedTuple):
    """What the next run begins with: `epoch`, and the rows that it loads. `stored_at`: when the last epoch ended."""

    epoch: int
    stored_at: datetime | None
    rows: list[Row]


def rows_with(directory: Path, magic: bytes) -> Iterator[Row]:
    """Every row, of any epoch, whose value begins with `magic`. Raises RecoveryRefused."""
    where = "WHERE instr(substr(ser_change, 1, 64), ?)"  # of its pickle, all of which have a short beginning
    for store in _stores(directory):
        for row in _rows(store, where, magic):
            if row.value.startswith(magic):
                yield row


def resume(directory: Path) -> Resume:
    """As the engine finds it at a start: the epoch that every worker of the last run had come to. Raises
    RecoveryRefused."""
    executions: dict[int, tuple[int, int]] = {}
    fronts: dict[tuple[int, int], int] = {}
    stored_at: datetime | None = None
    latest: dict[tuple[str, str], Row] = {}
    stores = list(_stores(directory))
    for store in stores:
        for number, workers, epoch in _query(store, "SELECT ex_num, worker_count, resume_epoch FROM exs"):
            executions[number] = workers, epoch
        for number, worker, epoch, at in _query(
            store, "SELECT ex_num, worker_index, worker_frontier, created_at FROM fronts"
        ):
            fronts[number, worker] = epoch
            stored_at = max(stored_at or _time(at), _time(at))
    if not executions:
        return Resume(0, None, [])
    last = max(executions)
    workers, began = executions[last]
    epoch = min((fronts.get((last, worker), began) for worker in range(workers)), default=began)
    for store in stores:
        for row in _rows(store, "WHERE snap_epoch < ?", epoch):
            known = latest.get((row.step, row.key))
            if known is None or known.epoch < row.epoch:
                latest[row.step, row.key] = row
    return Resume(epoch, stored_at, [latest[place] for place in sorted(latest)])


def forget_uncommitted(directory: Path) -> None:
    """Before a run: delete rows of epochs that not every worker came to the end of.

    The run numbers its epochs on from there. A key that it gives nothing in such an epoch would later be found in the
    state that the crashed run left for that number, with what the sources hand out again. Raises RecoveryRefused.
    """
    epoch = resume(directory).epoch
    for store in _stores(directory):
        try:
            with closing(sqlite3.connect(store, timeout=5)) as opened, opened:
                opened.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,))
        except sqlite3.Error as error:
            raise RecoveryRefused(f"{store} can't be written: {error}") from error


def value_of(pickled: bytes) -> bytes:
    """The bytes that a pickle of bytes holds, or the digits of a number's; nothing for a pickle of anything else."""
    value = b""
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            if isinstance(argument, bytes) and operation.name in _BYTES:
                value = argument
            elif isinstance(argument, int) and operation.name in _NUMBERS:
                value = b"%d" % argument
            elif operation.name not in _HARMLESS:
                return b""
    except ValueError:
        return b""
    return value


def _stores(directory: Path) -> Iterator[Path]:
    return iter(sorted(directory.glob("part-*.sqlite3")))


def _rows(store: Path, where: str, *arguments: object) -> Iterator[Row]:
    query = f"SELECT step_id, state_key, snap_epoch, created_at, ser_change FROM snaps {where}"
    for step, key, epoch, at, change in _query(store, query, *arguments):
        yield Row(step, key, epoch, _time(at), value_of(change) if change is not None else b"")


def _query(store: Path, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as opened:
            return opened.execute(query, arguments).fetchall()
    except sqlite3.Error as error:
        raise RecoveryRefused(
            f"{store} can't be read: {error}. Put back a copy of the whole directory, or begin with an empty one"
        ) from error


def _time(text: str) -> datetime:
    """SQLite's CURRENT_TIMESTAMP."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
