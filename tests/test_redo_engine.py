"""The redo log under the engine: crashes between epochs, restarts, what is left over, and what is read beside it."""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from connectors.recovery_rows import forget_uncommitted, resume, rows_with, value_of
from connectors.redo import log as redo_log
from connectors.redo import store as redo_store
from connectors.redo.chunks import StateDamaged
from connectors.redo.manifest import MAGIC, Manifest
from connectors.redo.named import named_files, verify
from connectors.redo.store import RedoStore
from flows import steps
from flows.exchange import Featured, Routing, Transactions
from flows.keeping import Incremental, Keeping, Nothing, Whole
from operators.features.plan import Plan
from tests.records import HOUR, transaction

(USER,) = Plan.of(["count_1h", "sum_amount_ever", "distinct_location_5m"], allowed_lateness=HOUR, repeats=True).entities
ROUTING = Routing(4, 1)
EVENTS = [
    transaction(f"u{chance.randrange(30)}", at=chance.randrange(24 * HOUR), amount=1.0 * n, transaction_id=f"t{n}")
    for n, chance in enumerate([Random(3)] * 2400)
]
BATCHES = [EVENTS[start : start + 40] for start in range(0, len(EVENTS), 40)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that little state has many chunks and bases."""
    monkeypatch.setattr(redo_log, "CHUNK", 1000)
    monkeypatch.setattr(redo_log, "SMALL", 5000)
    monkeypatch.setattr(redo_log, "SHARE", 1.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 2)
    return tmp_path


class Feed(FixedPartitionedSource[Any, int]):
    """The batches, one a poll and an epoch; it crashes where `crashes` says, and ends before `end`."""

    def __init__(self, crashes: Collection[int] = (), end: int = len(BATCHES)) -> None:
        self.crashes = crashes
        self.end = end

    def list_parts(self) -> list[str]:
        return ["one"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "FeedPart":
        return FeedPart(self, resume_state or 0)


class FeedPart(StatefulSourcePartition[Any, int]):
    def __init__(self, feed: Feed, offset: int) -> None:
        self.feed = feed
        self.offset = offset

    def next_batch(self) -> list[Any]:
        if self.offset in self.feed.crashes:
            raise AbortExecution
        if self.offset >= self.feed.end:
            raise StopIteration
        groups: dict[str, list[Any]] = {}
        for event in BATCHES[self.offset]:
            groups.setdefault(ROUTING.group(event.user_id), []).append(event)
        self.offset += 1
        return [(group, Transactions(items)) for group, items in groups.items()]

    def snapshot(self) -> int:
        return self.offset


def run(directory: Path, feed: Feed, keeping: Keeping, recover: bool = True) -> dict[str, tuple[Any, ...]]:
    """The rows that came out, by transaction."""
    out: list[tuple[str, Featured]] = []
    flow = Dataflow("fraud")
    fed = op.input("in", flow, feed)
    op.output("out", steps.user_windows("user_windows", fed, USER, 1, keeping), TestingSink(out))
    config = RecoveryConfig(str(directory), timedelta(0)) if recover else None
    run_main(flow, epoch_interval=timedelta(0), recovery_config=config)
    pairs = (pair for _, batch in out for pair in zip(batch.items, batch.rows, strict=True))
    return {item.transaction_id: row for item, row in pairs}


def incremental(directory: Path) -> Incremental:
    """As a start of the flow does it."""
    store = RedoStore(directory)
    verify(directory)
    store.sweep()
    return Incremental(store)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    return run(tmp_path_factory.mktemp("none"), Feed(), Nothing(), recover=False)


def test_rows_after_many_crashes_are_those_of_an_unbroken_run(directory: Path, expected: dict[str, Any]):
    crashes = [3, 4, 15, 16, 18, 35, 50, 57]
    found: dict[str, tuple[Any, ...]] = {}
    for number in range(len(crashes) + 1):
        found |= run(directory, Feed(crashes[number:]), incremental(directory))
    assert found == expected
    assert verify(directory) == 4
    named = named_files(directory)
    RedoStore(directory).sweep()
    assert {path.name for path in (directory / "state").iterdir()} == named


def test_whole_state_and_redo_log_take_each_other_over(directory: Path, expected: dict[str, Any]):
    found = run(directory, Feed(end=25), Whole())
    assert not list(rows_with(directory, MAGIC))
    found |= run(directory, Feed(), incremental(directory))
    assert found == expected
    assert len(list(rows_with(directory, MAGIC))) >= 4


def test_without_a_recovery_directory_nothing_is_written(tmp_path: Path):
    assert run(tmp_path, Feed(end=5), Nothing(), recover=False)
    assert not list(tmp_path.iterdir())


def test_what_earlier_runs_left_goes_while_the_flow_runs(
    directory: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redo_store, "LOOK_EVERY_S", 0.0)
    run(directory, Feed(end=20), incremental(directory))
    before = {path.name for path in (directory / "state").iterdir()}
    keeping = incremental(directory)
    found = run(directory, Feed(), keeping)
    keeping._store._delete_inherited()  # once more: the run may be over before its last look is
    after = {path.name for path in (directory / "state").iterdir()}
    assert before
    assert not before & after
    assert {identity: expected[identity] for identity in found} == found
    assert verify(directory) == 4


def test_only_the_processes_own_leftovers_are_swept(directory: Path):
    folder = RedoStore(directory).folder
    for name in ("p0-aa-000001.redo", "p1-aa-000001.base", "p2-aa-000001.redo", "notes.txt"):
        (folder / name).touch()
    RedoStore(directory, process=1, processes=2).sweep()
    assert {path.name for path in folder.iterdir()} == {"p0-aa-000001.redo", "p2-aa-000001.redo", "notes.txt"}
    RedoStore(directory, process=0, processes=2).sweep()
    assert {path.name for path in folder.iterdir()} == {"notes.txt"}


def test_what_a_restart_loads_is_read_as_the_engine_does(directory: Path):
    assert resume(directory).rows == []
    run(directory, Feed(end=10), incremental(directory))
    run(directory, Feed([15]), incremental(directory))
    kept = resume(directory)
    assert [(row.step, row.key) for row in kept.rows] == [
        ("fraud.in", "one"),
        *(("fraud.user_windows", group) for group in ROUTING.groups),
    ]
    offset = int(kept.rows[0].value)
    assert kept.stored_at is not None
    for row in kept.rows[1:]:
        assert Manifest.decode(row.value, "here").places
    feed = Feed([offset])
    assert run(directory, feed, incremental(directory)) == {}  # it resumes exactly there


@pytest.mark.parametrize(
    ("pickled", "value"),
    [
        (b"\x80\x04K\x02.", b"2"),
        (b"\x80\x04\x95\x07\x00\x00\x00\x00\x00\x00\x00C\x03abc\x94.", b"abc"),
        (b"\x80\x04N.", b""),
        (b"cos\nsystem\n(S'true'\ntR.", b""),
        (b"\x80\x04", b""),
        (b"nonsense", b""),
    ],
)
def test_pickles_are_read_without_being_run(pickled: bytes, value: bytes):
    assert value_of(pickled) == value


def test_rows_of_an_epoch_that_did_not_end_are_forgotten(directory: Path):
    """Or a key that is given nothing in the new run's epoch of that number would be taken for what the old one made."""
    run(directory, Feed(end=10), incremental(directory))
    before = resume(directory)
    for store in directory.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(store)) as opened, opened:
            ahead = "SELECT step_id, state_key, ?, x'80044b022e' FROM snaps WHERE state_key <> 'one'"
            opened.execute(f"INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) {ahead}", (before.epoch,))
    assert resume(directory) == before
    forget_uncommitted(directory)
    assert {row.epoch < before.epoch for row in rows_with(directory, b"")} == {True}
    assert resume(directory) == before


def test_a_damaged_file_stops_the_run(directory: Path):
    run(directory, Feed(end=20), incremental(directory))
    for path in (directory / "state").glob("*.redo"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateDamaged):
        run(directory, Feed(), Incremental(RedoStore(directory)))
