"""Where the operators meet the engine: each function adds one named step to the flow.

A step's state is the operator's own snapshot, as bytes; where it is large it is kept as flows/keeping.py says.
Whatever a step raises stops the flow: bad input has become a dead letter before, so it is a bug or a sink that can't go
on.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from connectors.kafka_source import RawBatch
from connectors.notify import notifier
from flows import logic
from flows.exchange import Completed, Featured, Routing, Transactions, key_text
from flows.failures import flat_map_batch, stateful_batch
from flows.keeping import Keeping
from flows.logic import Trained
from flows.redo import JoinRecord, WindowsRecord
from operators.decisions.cooldown import Alert, Cooldown
from operators.decisions.decide import DecidedBatch, Decider
from operators.decisions.statistics import LiveStatistics, Partial, partial_of, partial_of_dead_letters
from operators.features.plan import EntityPlan
from operators.features.windows import Windows
from operators.measurements import Point
from operators.model.contest import Contest
from operators.model.control import Control, Refused, newest_of_each, read_models
from operators.model.events import ModelEvent
from operators.model.join import Example, LabelJoin
from operators.model.scoring import Weights
from operators.rules import Changes, RuleEvent
from operators.transactions.decoding import Decoded
from operators.transactions.records import DeadLetter, Label

log = logging.getLogger(__name__)

Item = TypeVar("Item")
LIVE = "live"
"""The key of the one global window."""


# Decoding and routing


def decode(step_id: str, up: Stream[RawBatch], read: Callable[[RawBatch], Decoded]) -> Stream[Decoded]:
    """Messages to records, batch by batch."""
    return flat_map_batch(step_id, up, lambda batches: [read(batch) for batch in batches])


def dead_letters(step_id: str, up: Stream[Decoded]) -> KeyedStream[list[DeadLetter]]:
    """What could not be decoded, by the partition it came from."""

    def gather(batches: list[Decoded]) -> list[tuple[str, list[DeadLetter]]]:
        letters = (letter for batch in batches for letter in batch.dead_letters)
        return list(_grouped(letters, lambda letter: f"{letter.topic}-{letter.partition}").items())

    return flat_map_batch(step_id, up, gather)


def by_user(step_id: str, up: Stream[Decoded], routing: Routing) -> KeyedStream[Transactions]:
    """Transactions of all batches at hand, one batch for each key group of users."""

    def split(batches: list[Decoded]) -> list[tuple[str, Transactions]]:
        transactions = (transaction for batch in batches for transaction in batch.transactions)
        groups = _grouped(transactions, lambda transaction: routing.group(transaction.user_id))
        return [(group, Transactions(items)) for group, items in groups.items()]

    return flat_map_batch(step_id, up, split)


def labels_by_shard(step_id: str, up: Stream[Decoded], routing: Routing) -> KeyedStream[list[Label]]:
    """Labels of all batches at hand, to the shard that decides on their users."""

    return _labels_by(step_id, up, lambda label: routing.shard(label.user_id))


def with_labels(
    step_id: str, up: KeyedStream[Any], labels: Stream[Decoded], plan: EntityPlan, routing: Routing
) -> KeyedStream[Any]:
    """`up`, and the labels by the key groups of the plan's entity where they are wanted as they came."""
    if not plan.takes_told_labels and plan.memory is None:
        return up
    known = _labels_by(f"{step_id}_by_group", labels, lambda label: routing.group(getattr(label, plan.field) or ""))
    return op.merge(step_id, up, known)


def with_completed_labels(
    step_id: str, up: KeyedStream[Any], completed: KeyedStream[Completed] | None, plan: EntityPlan, routing: Routing
) -> KeyedStream[Any]:
    """`up`, and by the key groups of the plan's entity the labels that were completed, where they are wanted."""
    if completed is None or not plan.takes_completed_labels:
        return up

    def split(batches: list[tuple[str, Completed]]) -> list[tuple[str, Completed]]:
        labels = (label for _, batch in batches for label in batch.labels)
        groups = _grouped(labels, lambda label: routing.group(key_text(label.key(plan), "")))
        return [(group, Completed(found)) for group, found in groups.items()]

    return op.merge(step_id, up, flat_map_batch(f"{step_id}_by_group", completed, split))


def and_completed(
    name: str, up: KeyedStream[Any], plan: EntityPlan, so_far: KeyedStream[Completed] | None
) -> tuple[KeyedStream[Featured], KeyedStream[Completed] | None]:
    """What windows give taken apart where they complete labels: transactions with features, and these labels."""
    if plan.memory is None:
        return up, so_far

    def only(kind: type[Any]) -> Callable[[list[tuple[str, Any]]], list[tuple[str, Any]]]:
        return lambda items: [item for item in items if isinstance(item[1], kind)]

    featured = flat_map_batch(f"{name}_featured", up, only(Featured))
    return featured, flat_map_batch(f"{name}_completed", up, only(Completed))


def _labels_by(step_id: str, up: Stream[Decoded], key: Callable[[Label], str]) -> KeyedStream[list[Label]]:
    def split(batches: list[Decoded]) -> list[tuple[str, list[Label]]]:
        return list(_grouped((label for batch in batches for label in batch.labels), key).items())

    return flat_map_batch(step_id, up, split)


def _grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


# Features


def user_windows(
    step_id: str, up: KeyedStream[Any], plan: EntityPlan, columns: int, keeping: Keeping
) -> KeyedStream[Any]:
    """The user's features of each transaction, at that transaction; `columns` is the mark of the whole plan."""

    def make(state: bytes | None) -> logic.UserWindowsLogic:
        return logic.UserWindowsLogic(Windows(plan, state), columns)

    return stateful_batch(step_id, up, lambda state: keeping.logic(step_id, state, make, WindowsRecord(columns, plan)))


def by_entity(step_id: str, up: KeyedStream[Featured], plan: EntityPlan, routing: Routing) -> KeyedStream[Featured]:
    """Batches split anew by the key groups of another entity; what has no such entity goes by its user.

    Users come group by group, and all of one before the first of another would make that one late for a merchant of
    both: those at hand go on in the order of their times, each user's as they came.
    """

    def split(batches: list[tuple[str, Featured]]) -> list[tuple[str, Featured]]:
        def group(item: tuple[Any, ...]) -> str:
            return routing.group(key_text(getattr(item[0], plan.field), item[0].user_id))

        return _merged(batches, group, in_time=True)

    return flat_map_batch(step_id, up, split)


def entity_windows(
    step_id: str, up: KeyedStream[Any], plan: EntityPlan, columns: int, keeping: Keeping
) -> KeyedStream[Any]:
    """The features of another entity, appended to each row."""

    def make(state: bytes | None) -> logic.EntityWindowsLogic:
        return logic.EntityWindowsLogic(Windows(plan, state), columns)

    return stateful_batch(step_id, up, lambda state: keeping.logic(step_id, state, make, WindowsRecord(columns, plan)))


def by_shard(step_id: str, up: KeyedStream[Featured], routing: Routing, *, by_user: bool) -> KeyedStream[Featured]:
    """Batches of all groups at hand merged again, one for each shard: many small ones would cost twice.

    Those that come `by_user` are merged as they are, as a shard has whole groups of users: no event is looked at.
    """

    def merge(batches: list[tuple[str, Featured]]) -> list[tuple[str, Featured]]:
        if not by_user:
            return _merged(batches, lambda item: routing.shard(item[0].user_id))
        shards: dict[str, list[Featured]] = {}
        for group, batch in batches:
            shards.setdefault(routing.shard_of_group(group), []).append(batch)
        return [(shard, _joined(found)) for shard, found in shards.items()]

    return flat_map_batch(step_id, up, merge)


def _joined(batches: Sequence[Featured]) -> Featured:
    if len(batches) == 1:
        return batches[0]
    marks = chain.from_iterable(batch.marks or [0] * len(batch.items) for batch in batches)
    return Featured(
        list(chain.from_iterable(batch.items for batch in batches)),
        list(chain.from_iterable(batch.rows for batch in batches)),
        list(marks) if any(batch.marks for batch in batches) else (),
        sum(batch.repeated for batch in batches),
        batches[0].columns,  # made in this process, all of them
    )


def _merged(
    batches: list[tuple[str, Featured]], key: Callable[[tuple[Any, ...]], str], *, in_time: bool = False
) -> list[tuple[str, Featured]]:
    columns = batches[0][1].columns  # made in this process, all of them
    repeated = sum(batch.repeated for _, batch in batches)
    marked = any(batch.marks for _, batch in batches)
    rows_of = (_marked(batch) if marked else zip(batch.items, batch.rows, strict=True) for _, batch in batches)
    merged = []
    for shard, group in _grouped(chain.from_iterable(rows_of), key).items():
        if in_time:
            group = _in_time(group)
        items, rows = [part[0] for part in group], [part[1] for part in group]
        marks = [part[2] for part in group] if marked else []
        merged.append((shard, Featured(items, rows, marks, repeated, columns)))
        repeated = 0  # it only adds up to a total: the first batch takes it along
    return merged


def _in_time(parts: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """By event time, but for each user's, which stay in their order: a late one goes with the one before it."""
    reached: dict[str, int] = {}
    times = []
    for part in parts:
        transaction = part[0]
        time = reached[transaction.user_id] = max(
            transaction.event_time, reached.get(transaction.user_id, transaction.event_time)
        )
        times.append(time)
    order = sorted(range(len(parts)), key=times.__getitem__)
    return [parts[index] for index in order]


def _marked(batch: Featured) -> Iterable[tuple[Any, ...]]:
    return zip(batch.items, batch.rows, batch.marks or [0] * len(batch.items), strict=True)


# Decisions


def changes(step_id: str, up: Stream[RawBatch], read: Callable[[RawBatch], Changes]) -> Stream[Changes]:
    """What messages change in rules and lists, checked: once each, in the one worker that reads their partition.

    Where a rule needs windows that are not kept, the supervisor is asked for the restart that gives them.
    """

    def checked(batches: list[RawBatch]) -> list[Changes]:
        found = [read(batch) for batch in batches]
        waiting = sorted({rule for one in found for rule in one.waiting})
        if waiting:
            notifier().restart(f"rules {', '.join(waiting)} need windows that are not kept")
        return found

    return flat_map_batch(step_id, up, checked)


def control(step_id: str, up: Stream[Changes], shards: Sequence[str]) -> KeyedStream[Changes]:
    """Every change to every shard."""

    def broadcast(batches: list[Changes]) -> list[tuple[str, Changes]]:
        found = [Changes(b.topic, b.partition, b.rules, b.lists) for b in batches if b.rules or b.lists]
        return [(shard, batch) for batch in found for shard in shards]

    return flat_map_batch(step_id, up, broadcast)


def models_read(step_id: str, up: Stream[RawBatch]) -> Stream[Weights | Control | Refused]:
    """Weights and commands, checked: once each, in the one worker that reads their partition."""
    return flat_map_batch(step_id, up, lambda batches: [one for batch in batches for one in read_models(batch)])


def published(step_id: str, up: Stream[Weights | Control | Refused]) -> Stream[Weights | Control]:
    """Those that can be used."""
    return flat_map_batch(
        step_id, up, lambda found: newest_of_each([one for one in found if not isinstance(one, Refused)])
    )


def models_refused(step_id: str, up: Stream[Weights | Control | Refused]) -> KeyedStream[ModelEvent]:
    """What is to be told of the others."""

    def tell(found: list[Weights | Control | Refused]) -> list[tuple[str, ModelEvent]]:
        refused = [one for one in found if isinstance(one, Refused)]
        for one in refused:
            log.error("%s", one)
        return [(one.key, one.event()) for one in refused]

    return flat_map_batch(step_id, up, tell)


def control_models(
    step_id: str, up: Stream[Weights | Control], shards: Sequence[str]
) -> KeyedStream[Weights | Control]:
    """All of them to every shard."""
    return flat_map_batch(step_id, up, lambda found: [(shard, one) for one in found for shard in shards])


def rule_events(step_id: str, up: Stream[Changes]) -> KeyedStream[RuleEvent]:
    """What is to be told of changed rules and lists."""
    return flat_map_batch(step_id, up, lambda items: [(event.name, event) for item in items for event in item.events])


def rule_points(step_id: str, up: KeyedStream[RuleEvent]) -> KeyedStream[list[Point]]:
    """What was refused, counted."""

    def count(items: list[tuple[str, RuleEvent]]) -> list[tuple[str, list[Point]]]:
        points = [point for _, event in items if (point := event.to_point()) is not None]
        return [(LIVE, points)] if points else []

    return flat_map_batch(step_id, up, count)


def decide(
    step_id: str, up: KeyedStream[Featured], control: KeyedStream[Any], make: Callable[[], Decider], columns: int
) -> KeyedStream[DecidedBatch]:
    """Judge every transaction with the rules, lists and weights in force in its shard."""
    both: KeyedStream[Any] = op.merge(f"{step_id}_and_control", up, control)
    return stateful_batch(step_id, both, lambda state: logic.DecideLogic(make(), state, columns))


# Alerts


def alert_policy(step_id: str, up: KeyedStream[DecidedBatch]) -> KeyedStream[list[Alert]]:
    """What is suspicious, less what a cooldown keeps back."""
    return stateful_batch(step_id, up, lambda state: logic.AlertPolicyLogic(Cooldown(state)))


# Statistics


def partial_stats(step_id: str, up: KeyedStream[DecidedBatch]) -> KeyedStream[Partial]:
    """The sums of each batch, to the one global window."""
    return flat_map_batch(step_id, up, lambda batches: [(LIVE, partial_of(batch)) for _, batch in batches])


def partial_dead_letters(step_id: str, up: KeyedStream[list[DeadLetter]]) -> KeyedStream[Partial]:
    """The counts of dead letters, to the one global window."""
    return flat_map_batch(step_id, up, lambda lists: [(LIVE, partial_of_dead_letters(found)) for _, found in lists])


def live_stats(step_id: str, up: KeyedStream[Partial]) -> KeyedStream[list[Point]]:
    """The last 30 seconds, every second."""
    return stateful_batch(step_id, up, lambda state: logic.LiveStatsLogic(LiveStatistics(state)))


# Learning


def label_join(
    step_id: str,
    up: KeyedStream[DecidedBatch],
    labels: KeyedStream[list[Label]],
    make: Callable[[bytes | None], LabelJoin],
    keeping: Keeping,
) -> KeyedStream[list[Example]]:
    """Matured examples: the model's inputs as they were at the decision, with what became known."""
    both: KeyedStream[Any] = op.merge(f"{step_id}_and_labels", up, labels)

    def made(state: bytes | None) -> logic.LabelJoinLogic:
        return logic.LabelJoinLogic(make(state))

    return stateful_batch(step_id, both, lambda state: keeping.logic(step_id, state, made, JoinRecord()))


def train(
    step_id: str,
    up: KeyedStream[list[Example]],
    published: Stream[Weights | Control],
    model: str,
    make: Callable[[bytes | None], Contest],
) -> KeyedStream[Trained]:
    """The one place where models learn: matured examples of all shards; weights, events and points come out."""

    examples = flat_map_batch(f"{step_id}_by_model", up, lambda items: [(model, found) for _, found in items])
    control = flat_map_batch(f"{step_id}_control", published, lambda found: [(model, one) for one in found])
    both: KeyedStream[Any] = op.merge(f"{step_id}_and_control", examples, control)
    return stateful_batch(step_id, both, lambda state: logic.TrainLogic(make(state)))


def only(step_id: str, up: KeyedStream[Trained], *kinds: type[Any]) -> KeyedStream[Any]:
    """The outputs of `train` of these kinds."""
    return flat_map_batch(step_id, up, lambda items: [(key, item) for key, item in items if isinstance(item, kinds)])


def points_of(step_id: str, up: KeyedStream[Trained]) -> KeyedStream[list[Point]]:
    """What the trainer measured."""

    def gather(items: list[tuple[str, Trained]]) -> list[tuple[str, list[Point]]]:
        points = [item for _, item in items if isinstance(item, Point)]
        return [(items[0][0], points)] if points else []

    return flat_map_batch(step_id, up, gather)
