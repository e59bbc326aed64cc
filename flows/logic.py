"""The operators as the engine's stateful logic: batches in, batches out, the operator's own snapshot as the state."""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic
from prometheus_client import Counter

from flows.exchange import ColumnsDiffer, Completed, Featured, Transactions
from operators.decisions.cooldown import Alert, Cooldown
from operators.decisions.decide import DecidedBatch, Decider, decided_of
from operators.decisions.statistics import LiveStatistics, Partial
from operators.features.marks import joined
from operators.features.windows import Labelled, Windows
from operators.measurements import Point
from operators.model.contest import Contest
from operators.model.control import Control
from operators.model.events import ModelEvent
from operators.model.join import Example, LabelJoin, Packed
from operators.model.scoring import Weights
from operators.rules import Changes
from operators.transactions.records import Label

log = logging.getLogger(__name__)

Trained = Weights | Control | ModelEvent | Point
RETAIN = StatefulBatchLogic.RETAIN

WITHOUT_EFFECT = Counter(
    "fraud_label_join", "Labels and transactions that did not become an example as they were, by kind", ["kind"]
)
NOT_COMPLETED = Counter(
    "fraud_label_completion",
    "Labels and transactions that could not be brought together for features, by kind",
    ["kind"],
)


def now_ms() -> int:
    """The wall clock; operators have none of their own."""
    return time.time_ns() // 1_000_000


class UserWindowsLogic(StatefulBatchLogic["Transactions | list[Label]", "Featured | Completed", bytes]):
    def __init__(self, windows: Windows, columns: int) -> None:
        self.windows = windows
        self.columns = columns
        self.repeated = 0
        self.labels = LabelEntrance(windows)

    def on_batch(self, values: list[Transactions | list[Label]]) -> tuple[list[Featured | Completed], bool]:
        windows = self.windows
        items = [item for value in values if isinstance(value, Transactions) for item in value.items]
        rows = windows.update(items)
        marks = windows.marks(items)
        repeated = set(windows.last_repeated)
        if repeated:
            items = [item for index, item in enumerate(items) if index not in repeated]
            rows = [row for index, row in enumerate(rows) if index not in repeated]
            marks = [mark for index, mark in enumerate(marks) if index not in repeated]
        self.repeated += len(repeated)
        out: list[Featured | Completed] = []
        if items:
            out.append(Featured(items, rows, marks, self.repeated, self.columns))
            self.repeated = 0
        return [*out, *self.labels.enter(values)], RETAIN

    def snapshot(self) -> bytes:
        return self.windows.snapshot()


class EntityWindowsLogic(StatefulBatchLogic["Featured | list[Label] | Completed", "Featured | Completed", bytes]):
    def __init__(self, windows: Windows, columns: int) -> None:
        self.windows = windows
        self.columns = columns
        self.labels = LabelEntrance(windows)

    def on_batch(self, values: list[Featured | list[Label] | Completed]) -> tuple[list[Featured | Completed], bool]:
        out: list[Featured | Completed] = []
        for value in values:
            if isinstance(value, Featured):
                check_columns(value, self.columns)
                own = self.windows.update(value.items, value.rows)
                rows = [row + more for row, more in zip(value.rows, own, strict=True)]
                marks = joined(value.marks, self.windows.marks(value.items), len(value.rows[0]))
                out.append(msgspec.structs.replace(value, rows=rows, marks=marks))
        return [*out, *self.labels.enter(values)], RETAIN

    def snapshot(self) -> bytes:
        return self.windows.snapshot()


class LabelEntrance:
    """Where labels enter the windows of a key group: as they came, or with what their transaction had."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.told = self._counts()

    def enter(self, values: Iterable[Any]) -> list[Completed]:
        """What became known, after the transactions of the same batch: those that came with it are not judged by it.

        Returns what the windows could complete, for those of other entities.
        """
        windows, plan = self.windows, self.windows.plan
        labels = [label for value in values if isinstance(value, list) for label in value]
        completed = [label for value in values if isinstance(value, Completed) for label in value.labels]
        if plan.takes_told_labels:
            windows.labels([Labelled.of(label, plan) for label in labels])
        found = windows.complete(labels) if plan.memory is not None else []
        self._tell()
        if plan.takes_completed_labels:
            windows.labels([label.of(plan) for label in (*completed, *found)])
        return [Completed(found)] if found else []

    def _counts(self) -> dict[str, int]:
        completion = self.windows.completion
        return {} if completion is None else msgspec.structs.asdict(completion.counts)

    def _tell(self) -> None:
        """Count what could not be completed, on the engine's metrics endpoint."""
        counts = self._counts()
        for kind, count in counts.items():
            if count > self.told[kind]:
                NOT_COMPLETED.labels(kind).inc(count - self.told[kind])
        self.told = counts


class DecideLogic(StatefulBatchLogic["Featured | Weights | Control | Changes", DecidedBatch, bytes]):
    def __init__(self, decider: Decider, state: bytes | None, columns: int) -> None:
        self.decider = decider
        self.columns = columns
        if state:
            decider.restore(state)

    def on_batch(self, values: list[Featured | Weights | Control | Changes]) -> tuple[list[DecidedBatch], bool]:
        decided = []
        for value in values:
            if isinstance(value, Weights):
                self.decider.use(value)
            elif isinstance(value, Control):
                self.decider.obey(value)
            elif isinstance(value, Changes):
                self.decider.change(value)
            else:
                check_columns(value, self.columns)
                decided.append(self.decider.decide(value.items, value.rows, now_ms(), value.marks, value.repeated))
        return decided, RETAIN

    def snapshot(self) -> bytes:
        return self.decider.snapshot()


class AlertPolicyLogic(StatefulBatchLogic[DecidedBatch, "list[Alert]", bytes]):
    def __init__(self, cooldown: Cooldown) -> None:
        self.cooldown = cooldown

    def on_batch(self, values: list[DecidedBatch]) -> tuple[list[list[Alert]], bool]:
        found = self.cooldown.apply([decision for batch in values for decision in batch.suspicious])
        return [found] if found else [], RETAIN

    def snapshot(self) -> bytes:
        return self.cooldown.snapshot()


class LiveStatsLogic(StatefulBatchLogic[Partial, "list[Point]", bytes]):
    def __init__(self, statistics: LiveStatistics) -> None:
        self.statistics = statistics
        self.next = now_ms() // 1000 + 1

    def on_batch(self, values: list[Partial]) -> tuple[list[list[Point]], bool]:
        self.statistics.add(values)
        return [], RETAIN

    def on_notify(self) -> tuple[list[list[Point]], bool]:
        second = now_ms() // 1000
        if second < self.next:  # an earlier notification, asked for before
            return [], RETAIN
        self.next = second + 1
        return _unless_empty(self.statistics.points(second)), RETAIN

    def on_eof(self) -> tuple[list[list[Point]], bool]:
        return _unless_empty(self.statistics.points()), RETAIN

    def notify_at(self) -> datetime | None:
        return None if self.statistics.settled else datetime.fromtimestamp(self.next, UTC)

    def snapshot(self) -> bytes:
        return self.statistics.snapshot()


class LabelJoinLogic(StatefulBatchLogic["DecidedBatch | list[Label]", "list[Example]", bytes]):
    def __init__(self, join: LabelJoin) -> None:
        self.join = join

    def on_batch(self, values: list[DecidedBatch | list[Label]]) -> tuple[list[list[Example]], bool]:
        return self.take(self.packed(values))

    def packed(self, values: list[DecidedBatch | list[Label]]) -> list[Packed | list[Label]]:
        """The values as the join keeps them."""
        pack = self.join.pack
        return [pack(decided_of(value)) if isinstance(value, DecidedBatch) else value for value in values]

    def take(self, values: list[Packed | list[Label]]) -> tuple[list[list[Example]], bool]:
        """Enter them, and tell the engine's metrics endpoint what did not become an example."""
        before = msgspec.structs.asdict(self.join.counts)
        matured = self.again(values)
        for kind, count in msgspec.structs.asdict(self.join.counts).items():
            if count > before[kind]:
                WITHOUT_EFFECT.labels(kind).inc(count - before[kind])
        return [matured] if matured else [], RETAIN

    def again(self, values: list[Packed | list[Label]]) -> list[Example]:
        """Enter them without telling: what was given before a restart was told of then."""
        return [
            example
            for value in values
            for example in (self.join.enter(value) if isinstance(value, Packed) else self.join.labels(value))
        ]

    def snapshot(self) -> bytes:
        return self.join.snapshot()


class TrainLogic(StatefulBatchLogic["list[Example] | Weights | Control", Trained, bytes]):
    def __init__(self, contest: Contest) -> None:
        self.contest = contest

    def on_batch(self, values: list[list[Example] | Weights | Control]) -> tuple[list[Trained], bool]:
        out: list[Trained] = []
        for value in values:
            if isinstance(value, Control):
                out += self.contest.obey(value, now_ms())
            elif isinstance(value, Weights):
                self.contest.heard(value)
        out += self.contest.learn([one for value in values if isinstance(value, list) for one in value], now_ms())
        return out, RETAIN

    def on_eof(self) -> tuple[list[Trained], bool]:
        return list(self.contest.flush(now_ms())), RETAIN

    def snapshot(self) -> bytes:
        return self.contest.snapshot()


def check_columns(featured: Featured, columns: int) -> None:
    """Raises ColumnsDiffer, and logs it: the engine of several processes loses the message."""
    if featured.columns != columns:
        error = ColumnsDiffer()
        log.critical("%s", error)
        raise error


def _unless_empty(points: list[Point]) -> list[list[Point]]:
    return [points] if points else []
