"""Which message a step failed at: told in the log, and to whoever supervises the process.

Bad input is a dead letter long before, so what a step raises is a bug, and it ends the flow: started again it meets the
same message, unless someone knows which one. A failed step is therefore asked again, message by message. That changes
its state, which no longer matters: the process ends, and its epoch is never written.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from connectors.kafka_source import RawBatch
from connectors.notify import notifier
from flows.exchange import ColumnsDiffer, Featured, Transactions
from operators.decisions.cooldown import Alert
from operators.transactions.records import DeadLetter, Label, Transaction

log = logging.getLogger(__name__)

X = TypeVar("X")
Y = TypeVar("Y")
Place = dict[str, str | int]


class Culprit(NamedTuple):
    """What a step failed at: the message where it could be told, and how many came with it."""

    place: Place
    error: Exception


def flat_map_batch(step_id: str, up: Stream[X], mapper: Callable[[list[X]], Iterable[Y]]) -> Stream[Y]:
    """The engine's operator of this name, which tells the message it failed at."""

    def told(values: list[X]) -> Iterable[Y]:
        try:
            return mapper(values)
        except Exception as error:
            tell(step_id, values, error, lambda one: list(mapper([one])))
            raise

    return op.flat_map_batch(step_id, up, told)


def map_value(step_id: str, up: KeyedStream[X], mapper: Callable[[X], Y]) -> KeyedStream[Y]:
    """The engine's operator of this name, which tells the message it failed at."""

    def told(value: X) -> Y:
        try:
            return mapper(value)
        except Exception as error:
            tell(step_id, [value], error, mapper)
            raise

    return op.map_value(step_id, up, told)


def stateful_batch(
    step_id: str, up: KeyedStream[X], builder: Callable[[Any], StatefulBatchLogic[X, Y, Any]]
) -> KeyedStream[Y]:
    """The engine's operator of this name, which tells the message it failed at."""
    return op.stateful_batch(step_id, up, lambda state: _Told(step_id, builder(state)))


class _Told(StatefulBatchLogic[X, Y, Any]):
    """A step's logic as it is, but for the report of a failure."""

    def __init__(self, step_id: str, logic: StatefulBatchLogic[X, Y, Any]) -> None:
        self._step_id = step_id
        self._logic = logic
        self.on_notify = logic.on_notify  # type: ignore[method-assign]
        self.on_eof = logic.on_eof  # type: ignore[method-assign]
        self.notify_at = logic.notify_at  # type: ignore[method-assign]

    def on_batch(self, values: list[X]) -> tuple[Iterable[Y], bool]:
        try:
            return self._logic.on_batch(values)
        except Exception as error:
            tell(self._step_id, values, error, lambda one: self._logic.on_batch([one]))
            raise

    def snapshot(self) -> Any:
        return self._logic.snapshot()


def tell(step_id: str, values: Sequence[Any], error: Exception, again: Callable[[Any], object]) -> None:
    """Log which of `values` the step failed at, and notify the supervisor; `again` gives the step one value."""
    if isinstance(error, ColumnsDiffer):
        return  # no message is at fault
    found = culprit(values, again) or Culprit({}, error)
    what = f"{type(found.error).__name__}: {found.error}"
    where = told_place(found.place) or f"none of its {len(values)} batches by itself"
    log.critical("step %s fails at %s: %s", step_id, where, what)
    notifier().failed(step_id, what, found.place)


def told_place(place: Place) -> str:
    """A message for people."""
    if "offset" in place:
        return f"{place['topic']}[{place['partition']}] offset {place['offset']}"
    if "transaction_id" in place:
        return f"transaction {place['transaction_id']!r} of user {place['user_id']!r}"
    return ""


def culprit(values: Iterable[Any], again: Callable[[Any], object]) -> Culprit | None:
    """The first of `values` that fails alone, in as small a part as shows it; None where none does."""
    for value in values:
        try:
            again(value)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            parts = split(value)
            smaller = culprit(parts, again) if len(parts) > 1 else None
            return smaller or Culprit(place_of(value), error)
    return None


def split(value: Any) -> list[Any]:
    """A value as values of one message each."""
    match value:
        case RawBatch():
            return [value._replace(**_row(value, index)) for index in range(len(value.offsets))]
        case Transactions():
            return [Transactions([item]) for item in value.items]
        case Featured():
            marks = [value.marks[index : index + 1] for index in range(len(value.items))]
            rows = zip(value.items, value.rows, marks, strict=True)
            return [msgspec.structs.replace(value, items=[item], rows=[row], marks=mark) for item, row, mark in rows]
        case list():
            return [[item] for item in value]
        case (str() as key, inner):
            return [(key, part) for part in split(inner)]
    return [value]


def _row(batch: RawBatch, index: int) -> dict[str, Any]:
    columns = ("offsets", "timestamps", "keys", "values")
    return {column: [getattr(batch, column)[index]] for column in columns}


def place_of(value: Any) -> Place:
    """The message that a value of one message is of; empty where it is not known."""
    match value:
        case RawBatch() | DeadLetter():
            offset = value.offset if isinstance(value, DeadLetter) else value.offsets[0]
            return {"topic": value.topic, "partition": value.partition, "offset": offset}
        case Transaction() | Label():
            return {"transaction_id": value.transaction_id, "user_id": value.user_id}
        case Alert():
            return place_of(value.decision.transaction)
        case Transactions() | Featured():
            return place_of(value.items[0]) if len(value.items) == 1 else {}
        case [single]:
            return place_of(single)
        case (str(), inner):
            return place_of(inner)
    return {}
