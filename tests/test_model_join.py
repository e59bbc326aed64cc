"""Labels meet their transactions: late, early, twice, corrected, never; and nothing is lost at a restart."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.model.corrections import Corrections, CorrectionsState
from operators.model.join import MAX_LABELS, Decided, Example, LabelJoin
from operators.model.state import StateError
from operators.transactions.records import Label

MATURITY = 100


def join(snapshot: bytes | None = None, *, max_pending: int = 1_000) -> LabelJoin:
    return LabelJoin(maturity=MATURITY, max_pending=max_pending, snapshot=snapshot)


def decided(identity: str, event_time: int, score: float | None = 0.25) -> Decided:
    return Decided(identity, event_time, {"a": 1.0, f"time {event_time % 3}": 0.1 * event_time}, score, 5.0)


def label(identity: str, arrives_at: int, is_fraud: bool = True) -> Label:
    return Label(identity, is_fraud, arrives_at, "analyst")


def verdicts(examples: list[Example]) -> list[tuple[str, int, bool]]:
    return [(example.transaction_id, example.matured_at, example.is_fraud) for example in examples]


def test_a_labelled_transaction_matures_when_its_label_arrives_as_it_was_decided() -> None:
    labels = join()
    assert labels.decided([decided("a", 0, score=0.75)]) == []
    assert labels.labels([label("a", 50)]) == []
    assert labels.decided([decided("b", 49)]) == []
    (example,) = labels.decided([decided("c", 50)])
    assert example == Example("a", 0, 50, {"a": 1.0, "time 0": 0.0}, 0.75, True, 1.0, 5.0)


def test_an_unlabelled_transaction_is_legitimate_at_maturity() -> None:
    labels = join()
    labels.decided([decided("a", 0)])
    assert verdicts(labels.decided([decided("b", MATURITY)])) == [("a", MATURITY, False)]


def test_the_label_of_a_transaction_that_comes_late_may_come_after_it() -> None:
    """Both were in one message, and took different paths."""
    labels = join()
    labels.decided([decided("z", 500)])
    assert labels.decided([decided("a", 0), decided("b", 0), decided("y", 501)]) == []
    assert verdicts(labels.labels([label("a", MATURITY)])) == [("a", 501, True)]
    assert verdicts(labels.decided([decided("x", 500 + MATURITY)]))[0] == ("b", 500 + MATURITY, False)


def test_a_label_does_not_move_the_clock() -> None:
    labels = join()
    labels.decided([decided("a", 0)])
    assert labels.labels([label("a", 20), label("x", 10_000)]) == []


def test_a_label_may_come_before_its_decision() -> None:
    labels = join()
    labels.labels([label("a", 30)])
    labels.decided([decided("a", 0)])
    assert verdicts(labels.decided([decided("b", 30)])) == [("a", 30, True)]


def test_a_label_known_after_its_time_matures_at_the_clock_it_meets() -> None:
    labels = join()
    labels.decided([decided("a", 0), decided("b", 60)])
    assert verdicts(labels.labels([label("a", 20)])) == [("a", 60, True)]


def test_of_the_labels_that_have_arrived_the_latest_counts() -> None:
    for known in ([label("a", 2, True), label("a", 5, False)], [label("a", 5, False), label("a", 2, True)]):
        labels = join()
        labels.labels(known)
        assert verdicts(labels.decided([decided("z", 9), decided("a", 0)])) == [("a", 9, False)]


def test_a_later_label_corrects_what_was_learned() -> None:
    labels = join()
    labels.decided([decided("a", 0, score=0.75)])
    labels.labels([label("a", 2, True), label("a", 5, False)])
    assert verdicts(labels.decided([decided("b", 2)])) == [("a", 2, True)]
    (correction,) = labels.decided([decided("c", 5)])
    assert correction == Example("a", 0, 5, {"a": 1.0, "time 0": 0.0}, 0.75, False, 1.0, 5.0, corrects=True)
    assert verdicts(labels.labels([label("a", 5, True)])) == [("a", 5, True)]
    assert labels.counts.corrected == 2


def test_a_label_that_says_the_same_again_or_is_older_corrects_nothing() -> None:
    labels = join()
    labels.decided([decided("a", 0), decided("b", 20)])
    assert verdicts(labels.labels([label("a", 10, True)])) == [("a", 20, True)]
    assert labels.labels([label("a", 15, True), label("a", 5, False)]) == []
    assert labels.counts.corrected == 0


def test_a_correction_from_the_future_waits_for_its_time() -> None:
    labels = join()
    labels.decided([decided("a", 0), decided("b", 20)])
    labels.labels([label("a", 10, True), label("a", 60, False)])
    assert labels.decided([decided("c", 59)]) == []
    assert verdicts(labels.decided([decided("d", 60)])) == [("a", 60, False)]


def test_a_transaction_is_corrected_at_most_so_often_and_so_late() -> None:
    labels = join()
    labels.decided([decided("a", 0), decided("b", 20)])
    flips = labels.labels([label("a", 20, number % 2 == 0) for number in range(50)])
    assert len(flips) == MAX_LABELS
    assert labels.counts.surplus == 50 - MAX_LABELS
    labels.labels([label("b", 20, True)])
    assert labels.decided([decided("c", 20 + MATURITY)]) == []
    assert labels.labels([label("b", 20 + MATURITY, False)]) == []


def test_only_so_many_are_remembered_for_a_correction() -> None:
    labels = LabelJoin(maturity=MATURITY, max_corrections=3)
    labels.decided([decided(f"t{number}", 0) for number in range(5)])
    assert len(labels.labels([label(f"t{number}", 0, True) for number in range(5)])) == 5
    corrected = labels.labels([label(f"t{number}", 0, False) for number in range(5)])
    assert [one.transaction_id for one in corrected] == ["t2", "t3", "t4"]


def test_a_label_twice_counts_once() -> None:
    labels = join()
    labels.decided([decided("a", 0)])
    labels.labels([label("a", 20), label("a", 20)])
    assert verdicts(labels.decided([decided("b", 20)])) == [("a", 20, True)]
    assert labels.decided([decided("c", 119)]) == []


def test_a_label_after_maturity_is_too_late() -> None:
    labels = join()
    labels.decided([decided("a", 0)])
    labels.labels([label("a", MATURITY + 1)])
    assert verdicts(labels.decided([decided("b", MATURITY + 1)])) == [("a", MATURITY, False)]
    assert labels.counts.late == 1


def test_labels_of_unknown_transactions_are_given_up_and_counted() -> None:
    labels = join()
    labels.labels([label("nobody", 5)])
    labels.decided([decided("a", 5 + MATURITY)])
    assert labels.counts.unmatched == 1
    labels.decided([decided("nobody", 110)])
    assert verdicts(labels.decided([decided("z", 1_000)]))[-1] == ("nobody", 210, False)


def test_examples_come_in_order_of_maturity_then_id() -> None:
    labels = join()
    labels.decided([decided("c", 0), decided("a", 0), decided("b", 0)])
    labels.labels([label("b", 20), label("c", 30), label("a", 30)])
    assert [example.transaction_id for example in labels.decided([decided("z", 40)])] == ["b", "a", "c"]


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    labels = join(max_pending=3)
    labels.decided(decided(f"t{number}", number) for number in range(10))
    assert (labels.pending, labels.counts.dropped) == (3, 7)
    labels.labels(label(f"unknown{number}", 0) for number in range(10))
    assert labels.counts.unmatched == 7
    for number in range(5_000):
        labels.decided([decided(f"u{number}", 50)])
    assert len(labels._due) < 2_000
    assert len(labels._labels) <= 6


def test_of_more_than_there_is_room_for_the_oldest_are_given_up_even_where_an_id_comes_again() -> None:
    labels = join(max_pending=3)
    labels.decided([decided("a", 0), decided("b", 0), decided("c", 0), decided("d", 0)])  # gives up a
    labels.labels([label("b", 0)])  # matures
    labels.decided([decided("b", 0), decided("e", 0)])  # b is the youngest but e: gives up c
    assert [example.transaction_id for example in labels.decided([decided("z", MATURITY - 1)])] == []
    assert labels.counts.dropped == 3
    matured = labels.decided([decided("y", MATURITY)])
    assert [example.transaction_id for example in matured] == ["e"]


def test_a_flood_of_labels_for_one_transaction_is_bounded() -> None:
    labels = join()
    labels.decided([decided("a", 0)])
    labels.labels([label("a", 90 + number % 2, bool(number % 2)) for number in range(100)])
    assert labels.counts.surplus == 100 - MAX_LABELS


def test_an_id_decided_on_again_while_pending_is_passed_over() -> None:
    labels = join()
    labels.decided([decided("a", 0), decided("a", 1)])
    assert labels.counts.repeated == 1
    assert verdicts(labels.decided([decided("b", 500)])) == [("a", MATURITY, False)]


class Operation(NamedTuple):
    is_label: bool
    identity: str
    time: int
    is_fraud: bool


operations = st.lists(
    st.builds(Operation, st.booleans(), st.sampled_from("abcdefgh"), st.integers(0, 300), st.booleans()), max_size=40
)


def apply(labels: LabelJoin, batch: list[Operation]) -> list[Example]:
    """Runs of the same kind go in as one batch."""
    examples: list[Example] = []
    while batch:
        kind = batch[0].is_label
        size = next((i for i, operation in enumerate(batch) if operation.is_label != kind), len(batch))
        run, batch = batch[:size], batch[size:]
        if kind:
            examples += labels.labels([label(op.identity, op.time, op.is_fraud) for op in run])
        else:
            examples += labels.decided([decided(op.identity, op.time) for op in run])
    return examples


@given(operations, st.integers(0, 40))
def test_a_restored_join_continues_as_the_first_would_have(ops: list[Operation], cut: int) -> None:
    whole, first = join(), join()
    examples = apply(first, ops[:cut])
    second = join(first.snapshot())
    assert second.snapshot() == first.snapshot()
    assert examples + apply(second, ops[cut:]) == apply(whole, ops[:cut]) + apply(whole, ops[cut:])
    assert second.snapshot() == whole.snapshot()


@given(operations, st.integers(1, 5))
def test_batches_do_not_matter(ops: list[Operation], size: int) -> None:
    whole, parts = join(max_pending=4), join(max_pending=4)
    cut = [example for i in range(0, len(ops), size) for example in apply(parts, ops[i : i + size])]
    assert cut == apply(whole, ops)
    assert parts.counts.dropped == whole.counts.dropped


@settings(max_examples=300)
@given(operations)
def test_the_slow_and_obvious_join_agrees(ops: list[Operation]) -> None:
    assert apply(join(), ops) == slow_and_obvious(ops)


@dataclass
class Learned:
    """What the oracle remembers of a labelled transaction that matured."""

    one: Decided
    is_fraud: bool
    decided_at: int
    heard: int
    until: int


def slow_and_obvious(ops: list[Operation]) -> list[Example]:  # noqa: PLR0915  a script, to be read from top to bottom
    clock = -(2**62)
    pending: dict[str, Decided] = {}
    seen: dict[str, int] = {}
    due: dict[str, int] = {}
    known: dict[str, list[Operation]] = {}
    waits_until: dict[str, int] = {}
    learned: dict[str, Learned] = {}
    changes: list[tuple[Learned, Operation]] = []
    examples: list[Example] = []

    def correct(op: Operation) -> bool:
        """Whether the label is for a transaction that was learned."""
        one = learned.get(op.identity)
        if op.identity in pending or one is None or max(op.time, clock) >= one.until:
            return False
        if one.heard < MAX_LABELS:
            one.heard += 1
            changes.append((one, op))
        return True

    for op in ops:
        if not op.is_label:
            clock = max(clock, op.time)
            if op.identity not in pending:
                pending[op.identity] = decided(op.identity, op.time)
                seen[op.identity] = clock
                waits_until.pop(op.identity, None)
        elif not correct(op):
            if len(known.setdefault(op.identity, [])) >= MAX_LABELS:
                continue
            known[op.identity].append(op)
            if op.identity not in pending:
                waits_until[op.identity] = max(op.time, clock) + MATURITY
        if op.identity in pending:
            earliest = min((one.time for one in known.get(op.identity, ())), default=2**62)
            ripe = min(seen[op.identity] + MATURITY, earliest)
            due[op.identity] = min(due.get(op.identity, 2**62), max(ripe, clock))
        for at, identity in sorted((at, identity) for identity, at in due.items() if at <= clock):
            one = pending.pop(identity)
            del due[identity]
            labels = known.pop(identity, [])
            arrived = [op for op in labels if op.time <= at]
            verdict = max(enumerate(arrived), key=lambda pair: (pair[1].time, pair[0]))[1] if arrived else None
            is_fraud = verdict is not None and verdict.is_fraud
            examples.append(Example(identity, one.event_time, at, one.input, one.score, is_fraud, 1.0, one.amount))
            if verdict is not None:
                learned[identity] = Learned(one, is_fraud, verdict.time, len(arrived), clock + MATURITY)
                learned = {identity: one for identity, one in learned.items() if one.until > clock}
                for later in labels:
                    if later.time > at:
                        correct(later)
        for change in sorted((change for change in changes if change[1].time <= clock), key=lambda pair: pair[1].time):
            changes.remove(change)
            was, op_ = change
            if learned.get(op_.identity) is not was or op_.time < was.decided_at:
                continue
            was.decided_at = op_.time
            if op_.is_fraud != was.is_fraud:
                was.is_fraud = op_.is_fraud
                one = was.one
                examples.append(
                    Example(op_.identity, one.event_time, clock, one.input, one.score, was.is_fraud, 1.0, 5.0, True)
                )
        for identity in [identity for identity, until in waits_until.items() if until <= clock]:
            del waits_until[identity], known[identity]
    return examples


@pytest.mark.parametrize("snapshot", [b"", b"junk", b"\x93\xa5other\x01\x80", b"\x93\xaalabel join\x63\x90"])
def test_a_state_that_cannot_be_read_is_refused_with_what_to_do(snapshot: bytes) -> None:
    with pytest.raises(StateError, match="empty recovery directory"):
        join(snapshot)


def test_a_stored_old_state_still_loads() -> None:
    """Version 1, written by the first release; never change these bytes."""
    labels = join(bytes.fromhex(OLD_STATE))
    assert labels.pending == 2
    assert verdicts(labels.decided([decided("z", 20)])) == [("a", 20, True)]
    (example,) = labels.decided([decided("y", 101)])
    assert (example.transaction_id, example.is_fraud, example.score, example.amount) == ("b", False, None, 5.0)
    assert example.input == {"a": 1.0, "time 1": 0.1}


OLD_STATE = (
    "93aa6c6162656c206a6f696e019a85a764726f7070656400a8726570656174656400a9756e6d61746368656400a46c617465"
    "00a7737572706c7573000193a161a674696d652030a674696d65203192a161a16292c431000000000000000094cb40140000"
    "00000000cb3fd000000000000092000192cb3ff0000000000000cb0000000000000000c429010000000000000094cb401400"
    "0000000000c092000292cb3ff0000000000000cb3fb999999999999a9314656493a161a162a16182a161919214c3a5656172"
    "6c79919228c391a56561726c7991cc8c"
)


def test_what_was_settled_again_is_the_last_to_be_forgotten_also_after_a_restart() -> None:
    corrections = Corrections(2, 100)
    for identity in ("a", "b", "a"):
        corrections.settle(identity, b"", False, 0, 3, 0)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(corrections.state()), type=CorrectionsState)
    for one in (corrections, Corrections(2, 100, state)):
        one.settle("c", b"", False, 0, 3, 0)
        assert list(one.state().settled) == ["a", "c"]
