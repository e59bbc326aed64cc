"""What keeping the state costs: the whole flow under the engine, with recovery, over users that it knows by now.

Each way is run in a process of its own: filled at full speed, measured at full speed, then at a steady rate, killed by
its end, and started again.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from connectors.kafka_source import RawBatch
from connectors.redo.log import KeyLog
from connectors.redo.named import verify
from connectors.redo.store import RedoStore
from flows import collector
from flows.ends import Sinks, Sources
from flows.fraud import build
from flows.keeping import Incremental, Keeping, Nothing, Whole
from flows.settings import Settings
from fraudflow.state.reading import Kept

BATCH, BATCHES = 500, 10
IDLE = timedelta(milliseconds=5)
SETTINGS = Settings(max_clock_skew=10**12, label_maturity=10**12)
WAYS = ("nothing kept", "redo log", "whole state")


class Phase(NamedTuple):
    """So many events, at most so many a second (0: as fast as it goes)."""

    name: str
    events: int
    rate: int = 0


class Measured(NamedTuple):
    """Of one phase: microseconds of the processor an event, the longest pause between batches, in seconds and in those
    of the worker's processor (another program's turns count in the first), bytes on
    disk, and the share of the worker's processor time that the redo log took."""

    name: str
    cost: float
    pause: float
    busy: float
    size: int
    share: float


class _Feed(FixedPartitionedSource[RawBatch, int]):
    """One partition of messages of users at random; the offset is the snapshot, as on Kafka."""

    def __init__(self, users: int, phases: list[Phase], recovery: Path) -> None:
        self.values = [
            b'{"customer_id":"C%d","amount":%d.5,"merchant":"M%d","country":"FR","category":"grocery"}'
            % (user, user % 400, user % 5000)
            for user in range(users)
        ]
        Random(1).shuffle(self.values)
        self.phases = phases
        self.recovery = recovery
        self.measured: list[Measured] = []
        self.first_at = 0.0
        self.log_times = [0.0]

    def list_parts(self) -> list[str]:
        return ["transactions/0"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "_FeedPart":
        return _FeedPart(self, resume_state or 0)


class _FeedPart(StatefulSourcePartition[RawBatch, int]):
    def __init__(self, feed: _Feed, offset: int) -> None:
        self.feed = feed
        self.offset = offset
        self.awake: datetime | None = None
        self.batches = self._batches()

    def _batches(self) -> Iterator[list[RawBatch]]:
        feed = self.feed
        feed.first_at = time.perf_counter()
        for phase in feed.phases:
            began, began_at, sent, size = time.process_time(), time.perf_counter(), 0, 0
            pauses, worked = [0.0], [0.0]
            thread_at, log_at = time.thread_time(), feed.log_times[0]
            while sent < phase.events:
                at, busy_at = time.perf_counter(), time.thread_time()
                due = not phase.rate or sent <= (at - began_at) * phase.rate
                self.awake = None if due else datetime.now(UTC) + IDLE
                yield [self._batch() for _ in range(BATCHES)] if due else []
                sent += BATCH * BATCHES * due
                pauses.append(time.perf_counter() - at - (0 if due else IDLE.total_seconds()))
                worked.append(time.thread_time() - busy_at)
                if due and sent % 250_000 == 0:
                    size = max(size, size_of(feed.recovery))
            cost = (time.process_time() - began) / sent * 1e6
            size = max(size, size_of(feed.recovery))
            share = (feed.log_times[0] - log_at) / (time.thread_time() - thread_at)
            feed.measured.append(Measured(phase.name, cost, max(pauses), max(worked), size, share))

    def _batch(self) -> RawBatch:
        values, start = self.feed.values, self.offset % len(self.feed.values)
        at = 1_700_000_000_000 + self.offset // 20
        chosen = values[start : start + BATCH]
        offsets = range(self.offset, self.offset + len(chosen))
        self.offset += len(chosen)
        return RawBatch("transactions", 0, offsets, [at] * len(chosen), [None] * len(chosen), list(chosen))

    def next_batch(self) -> list[RawBatch]:
        return next(self.batches)

    def next_awake(self) -> datetime | None:
        return self.awake

    def snapshot(self) -> int:
        return self.offset


class _Drop(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_DropPart":
        return _DropPart()


class _DropPart(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(entry.stat().st_size for entry in os.scandir(folder / "state")) if (folder / "state").exists() else 0


def keep(way: str, recovery: Path) -> Keeping:
    """The ways of `WAYS`."""
    return {"nothing kept": Nothing, "whole state": Whole}[way]() if way != "redo log" else redo(recovery)


def redo(recovery: Path) -> Keeping:
    """As a start of the flow does it."""
    store = RedoStore(recovery)
    verify(recovery)
    store.sweep()
    return Incremental(store)


def run(way: str, recovery: Path, users: int, phases: list[Phase], epoch: float) -> dict[str, Any]:
    """The flow over these phases; what was measured, and the seconds from its start to its first event."""
    began = time.perf_counter()
    feed = _Feed(users, phases, recovery)
    made = time.perf_counter() - began
    nothing: Any = TestingSource([])
    sources = Sources(feed, nothing, nothing, nothing)
    sinks = Sinks(*[_Drop()] * 5)
    flow = build(SETTINGS, sources, sinks, keeping=keep(way, recovery))
    collector.settle()
    timed(feed.log_times)
    config = RecoveryConfig(str(recovery), backup_interval=timedelta(0))
    run_main(flow, epoch_interval=timedelta(seconds=epoch), recovery_config=None if way == WAYS[0] else config)
    return {"phases": feed.measured, "first event": feed.first_at - began - made}


def live_size(recovery: Path) -> int:
    """The bytes of all windows and pending labels, each once."""
    kept = Kept(recovery, SETTINGS)
    windows: list[Any] = [w for entity in kept.parts.plan.entities for _, w in kept.windows(entity.entity)]
    return sum(len(state.snapshot()) for state in [*windows, *(join for _, join in kept.joins())])


def timed(times: list[float]) -> None:
    """Have all that the redo log does in a worker's thread add its processor time to the first of `times`."""

    def wrap(of: Any, name: str) -> None:
        inner = getattr(of, name)

        def outer(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return inner(*arguments, **options)
            finally:
                times[0] += time.thread_time() - began

        setattr(of, name, outer)

    for name in ("append", "rebase", "snapshot"):
        wrap(KeyLog, name)
    wrap(RedoStore, "finish")


def compared(users: int, events: int, epoch: float = 10.0) -> dict[str, float]:
    """The flow with a redo log: its share of a worker's processor, pauses, size on disk, seconds to restart."""
    phases = [f"fill:{2 * users}:0", f"full:{events}:0", f"steady:{events // 5}:20000"]
    with TemporaryDirectory() as folder:
        init_db_dir(Path(folder), 4)  # type: ignore[no-untyped-call]
        _, full, steady = (Measured(*phase) for phase in in_a_process(WAYS[1], folder, users, epoch, *phases)["phases"])
        live = live_size(Path(folder))
        restart = in_a_process(WAYS[1], folder, users, epoch, "again:5000:0")["first event"]
    size = max(full.size, steady.size) / live
    return {"share": full.share, "busy": steady.busy, "pause": steady.pause, "size": size, "restart": restart}


def in_a_process(way: str, folder: str, users: int, epoch: float, *phases: str) -> Any:
    """What `run` returns there."""
    command = [sys.executable, "-m", "benchmarks.snapshots", way, folder, str(users), str(epoch), *phases]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    way, recovery, users, epoch, *phases = sys.argv[1:]
    parsed = [Phase(name, int(events), int(rate)) for name, events, rate in (phase.split(":") for phase in phases)]
    print(json.dumps(run(way, Path(recovery), int(users), parsed, float(epoch))))
