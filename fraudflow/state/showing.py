"""What a recovery directory keeps, as tables in a terminal."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from connectors.recovery import owners
from connectors.recovery_rows import resume
from connectors.redo.chunks import FOLDER
from connectors.redo.named import state_size
from fraudflow.state.reading import Kept
from operators.times import iso


def size_of(directory: Path) -> int:
    """The bytes of all files of a recovery directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def show_steps(directory: Path) -> None:
    """Each step with its keys, bytes and the age of its snapshots; then the directory as a whole. Raises
    RecoveryRefused."""
    kept = resume(directory)
    console = Console(highlight=False)
    steps: dict[str, list[Any]] = {}
    for row in kept.rows:
        if row.value:
            steps.setdefault(row.step, []).append(row)
    table = Table(box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    for name in ("keys", "bytes", "last snapshot", "oldest"):
        table.add_column(name, justify="right", no_wrap=True)
    for step, rows in sorted(steps.items()):
        size = sum(state_size(row) for row in rows)
        times = [row.stored_at for row in rows]
        table.add_row(step.partition(".")[2], f"{len(rows):,}", f"{size:,}", _age(max(times)), _age(min(times)))
    console.print(table)
    kinds = Counter(path.suffix.removeprefix(".") for path in (directory / FOLDER).glob("*"))
    files = f"{kinds['base']:,} bases and {kinds['redo']:,} files of redo log" if kinds else "no files of a redo log"
    console.print(f"\n{directory}: {size_of(directory):,} bytes, {files}", soft_wrap=True)
    ended = "no epoch has ended yet" if kept.stored_at is None else f"the last epoch ended {_age(kept.stored_at)} ago"
    last = ", ".join(owners(directory).values()) or "none"
    console.print(f"a restart goes on with epoch {kept.epoch}; {ended}; last owned by process {last}", soft_wrap=True)


def show_user(kept: Kept, identity: str) -> bool:
    """One user's events and features; whether there are any. Raises RecoveryRefused, StateError."""
    console = Console(highlight=False)
    for group, windows in kept.windows("user", identity):
        events = windows.events(identity)
        row = windows.latest(identity)
        if not events or row is None:
            return False
        fields = list(dict.fromkeys(name for event in events for name in event))
        console.print(f"{identity}: {len(events):,} events in key group {group}", markup=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False)
        for name in fields:
            table.add_column(name, justify="left" if name == "time" else "right", no_wrap=True)
        for event in events:
            table.add_row(*(_shown(name, event.get(name)) for name in fields))
        console.print(table)
        features = Table(box=None, pad_edge=False, show_header=False)
        for name, value in zip(windows.plan.columns, row, strict=True):
            features.add_row(name, _shown(name, value))
        console.print("\nfeatures as of the last event")
        console.print(features)
        return True
    return False


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "time":
        return iso(int(value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _age(at: datetime) -> str:
    seconds = max(0, round((datetime.now(UTC) - at).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
