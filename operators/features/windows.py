"""The windows of one entity, for all keys of a key group: features of each event, at that event."""

from collections.abc import Sequence
from typing import Any

from operators.features.completion import CompletedLabel, LabelCompletion
from operators.features.generate import Row, compile_update, row_of, source_of
from operators.features.labels import Labelled
from operators.features.layout import Layout
from operators.features.logs import Logs
from operators.features.marks import Filling, marks_of
from operators.features.names import AMOUNTS, TEXTS
from operators.features.plan import EntityPlan, warm_after
from operators.features.shown import events_of
from operators.features.state import StateError, decode_state, encode_state
from operators.transactions.records import Label, Transaction

__all__ = ["Labelled", "Row", "StateError", "Windows"]


class Windows:
    """In: transactions in the order in which they came; out: a row of `plan.columns` for each, in that order.

    Event time only. A row holds what all events of its key say that were seen so far, up to and with this one, whatever
    the order they came in and however they were cut into batches; the contract is docs/windows.md. A transaction
    without the key has a row of None and is not kept. The same events give the same rows on a replay, also across
    `snapshot` and restore. Memory: about 100 bytes a key and its text, and 4 or 8 bytes an event and column.

    `late` counts the events so far that came later than the allowed lateness; `last_late` are the indexes of those in
    the last batch: their rows hold what the log could still give. `last_repeated` are the indexes of those that came
    before, where the plan asks for it: they are not entered again, and their rows are those of the first as of now.

    Where the plan has a `memory`, `complete` gives labels with what their transaction had; `completion` counts what
    could not be.

    >>> from operators.features.plan import Plan
    >>> plan = Plan.of(["count_1m", "mean_amount_1h_before"], allowed_lateness=10_000)
    >>> windows = Windows(plan.entities[0])
    >>> windows.update([Transaction("simple", "1", 0, "ann", 10.0), Transaction("simple", "2", 500, "ann", 20.0)])
    [(1, None), (2, 10.0)]
    """

    def __init__(self, plan: EntityPlan, snapshot: bytes | None = None) -> None:
        """Raises StateError for a snapshot of another entity or format; one of other windows is taken over."""
        self.plan = plan
        self.layout = Layout(plan)
        self.late = 0
        self.last_late: list[int] = []
        self.last_repeated: list[int] = []
        self._logs = Logs(self.layout)
        self._update = compile_update(self.layout)
        self._filling: Filling | None = None
        self._nullable = plan.field if {**TEXTS, **AMOUNTS}[plan.field] else None
        memory = None
        if snapshot is not None:
            self.late, memory = decode_state(snapshot, self._logs)
        self.completion: LabelCompletion | None = None
        self._completed: list[CompletedLabel] = []
        if plan.memory is not None:
            self.completion = LabelCompletion(plan.memory, [*plan.given], plan.columns, memory or None)

    @property
    def keys(self) -> list[Any]:
        """The keys that are remembered."""
        return [key for key, _ in self._logs.all()]

    def events(self, key: Any) -> list[dict[str, Any]]:
        """What is kept of a key's events, in order of time: see `operators.features.shown`."""
        return events_of(self._logs, key)

    def latest(self, key: Any) -> Row | None:
        """The row of a key's latest event, as it is now; None where the key is not known."""
        log = self._logs.young.get(key) or self._logs.old.get(key)
        return row_of(self._update, self._logs, key, log, len(log) - self.layout.size) if log else None

    def __len__(self) -> int:
        return len(self._logs.young) + len(self._logs.old)

    @property
    def cut(self) -> int:
        """Events that left a window early because one key had too many; see docs/windows.md."""
        return self._logs.cut

    @property
    def since(self) -> int | None:
        """The event time from which on there are events; None before the first."""
        return self._logs.since

    def full_from(self) -> dict[str, int]:
        """For each column the event time from which on its window is full: an event before finds it warming up.

        Empty before the first event. A column that a changed plan added counts from what the logs still had. A derived
        field is full with those windows of this entity that its expression names.
        """
        since, started = self._logs.since, self._logs.started
        if since is None:
            return {}
        full = {f.name: started.get(f.name, since) + warm_after(f) for f in self.plan.features}
        for derived in self.plan.derived:
            full[derived.name] = max((full[name] for name in derived.expression.names if name in full), default=since)
        return full

    def marks(self, transactions: Sequence[Transaction]) -> Sequence[int]:
        """What is to be told of each row of the batch that was just updated (see marks.py): whether it came too late,
        and which of the plan's windows were not full yet. Empty where there is nothing to tell of any."""
        if self._filling is None and self.plan.features and self.since is not None:
            self._filling = Filling(self.plan.columns, self.full_from())
        return marks_of(transactions, self.last_late, self._filling, self._nullable)

    @property
    def source(self) -> str:
        """The generated loop, to be read."""
        return source_of(self.layout)

    def update(self, transactions: Sequence[Transaction], given: Sequence[Row] = ()) -> list[Row]:
        """Enter the transactions, and return the row of each. `given` are their rows so far, of the entities before."""
        rows: list[Row] = []
        self.last_late, self.last_repeated = [], []
        self._logs.texts.sweep(self._logs.held_texts(), len(transactions))
        if self.plan.reads and len(given) != len(transactions):
            raise ValueError(f"{len(transactions)} transactions with {len(given)} rows so far: wanted one for each")
        self._update(self._logs, transactions, given, rows, self.last_late, self.last_repeated)
        self._logs.bury()
        if transactions:
            self._logs.newest = max(self._logs.newest, transactions[-1].event_time)
        self.late += len(self.last_late)
        if self.completion is not None:
            self._completed += self.completion.transactions(transactions, given, rows, set(self.last_repeated))
        return rows

    def complete(self, labels: Sequence[Label]) -> list[CompletedLabel]:
        """The labels whose transaction is remembered, with what it had, and those that had waited for one since.

        Only where the plan has a `memory`. They are for the windows of all entities that take them, these ones too.
        """
        assert self.completion is not None, "the plan remembers no transactions"
        completed = [*self._completed, *self.completion.labels(labels)]
        self._completed.clear()
        return completed

    def labels(self, labels: Sequence[Labelled]) -> None:
        """Enter labels, in any order, for `fraud_count` and `fraud_rate`: each counts for the events after its arrival.

        A label that comes in after an event is not in that event's row, whenever it arrived; see docs/windows.md.
        Where no feature is made of labels, nothing is kept.
        """
        for known in self._logs.labels.values():
            known.enter(labels, self._logs.newest)

    def snapshot(self) -> bytes:
        """The state as bytes of a versioned format with a checksum."""
        return encode_state(self._logs, self.late, self.completion.snapshot() if self.completion else b"")
