"""What is told of a row beside its values: too late, and which windows were not full yet."""

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.exchange import Featured, Routing
from flows.steps import _merged
from operators.features.marks import LATE, count_late, joined, warming_up
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.transactions.records import Transaction
from tests.records import HOUR, MINUTE, transaction

NAMES = ("count_1m", "sum_amount_1h", "mean_amount_ever", "count_tumbling_1h", "seconds_since_last")


def told(windows: Windows, events: list[Transaction]) -> list[tuple[bool, frozenset[str]]]:
    windows.update(events)
    marks = windows.marks(events) or [0] * len(events)
    return [(bool(mark & LATE), warming_up(mark, windows.plan.columns)) for mark in marks]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-5, 90)), max_size=6), max_size=5),
    st.booleans(),
)
def test_a_window_is_full_once_events_came_in_for_its_length(batches: Any, restore: bool) -> None:
    (plan,) = Plan.of(NAMES, allowed_lateness=2 * MINUTE).entities
    windows, since = Windows(plan), None
    for batch in batches:
        events = [transaction(user, at * MINUTE) for user, at in batch]
        found = told(windows, events)
        assert [index for index, (late, _) in enumerate(found) if late] == windows.last_late
        for event, (_, warming) in zip(events, found, strict=True):
            since = event.event_time if since is None else since
            gone = event.event_time - since
            expected = {"count_1m"} if gone < MINUTE else set()
            expected |= {"sum_amount_1h", "count_tumbling_1h"} if gone < HOUR else set()
            expected |= {"mean_amount_ever", "seconds_since_last"} if gone < 0 else set()
            assert warming == expected
        if restore:
            windows = Windows(plan, windows.snapshot())


def test_nothing_is_told_once_all_windows_are_full() -> None:
    (plan,) = Plan.of(NAMES, allowed_lateness=MINUTE).entities
    windows = Windows(plan)
    assert windows.marks([]) == ()
    windows.update([transaction(at=0)])
    events = [transaction(at=HOUR), transaction(at=2 * HOUR)]
    windows.update(events)
    assert windows.marks(events) == ()
    events = [transaction(at=2 * HOUR), transaction(at=HOUR)]
    windows.update(events)
    assert windows.marks(events) == [0, LATE]


def test_without_a_key_no_window_fills() -> None:
    (plan,) = Plan.of(["count_1h_by_merchant"], allowed_lateness=MINUTE).entities
    events = [transaction(at=0, merchant_id="m1"), transaction(at=1), transaction(at=2, merchant_id="m1")]
    assert [len(warming) for _, warming in told(Windows(plan), events)] == [1, 0, 1]


def test_windows_that_a_later_rule_needs_fill_from_what_is_kept() -> None:
    (plan,) = Plan.of(["count_1h"], allowed_lateness=0).entities
    windows = Windows(plan)
    windows.update([transaction(at=at * HOUR) for at in range(10)])
    (wider,) = Plan.of(["count_1h", "count_6h"], allowed_lateness=0).entities
    windows = Windows(wider, windows.snapshot())
    events = [transaction(at=at * HOUR) for at in range(10, 20)]
    # The last event was at 9 h, and the hour before it is kept.
    expected = [{"count_6h"} if at < 8 + 6 else set() for at in range(10, 20)]
    assert [warming for _, warming in told(windows, events)] == expected


def test_marks_of_further_columns_are_joined() -> None:
    columns = ("a", "b", "c")
    assert joined([0b010, 0b101], [], 2) == [0b010, 0b101]
    marks = joined([0b010, 0b101], [0b11, 0b00], 2)
    assert [(mark & LATE, warming_up(mark, columns)) for mark in marks] == [(1, {"a", "c"}), (1, {"b"})]
    assert [warming_up(mark, columns) for mark in joined([], [0b10, 0], 2)] == [{"c"}, set()]
    assert count_late(marks) == 2


@given(st.lists(st.lists(st.integers(0, 2**100), min_size=0, max_size=5), min_size=1, max_size=4))
def test_marks_stay_with_their_transactions_on_the_way(marks: list[list[int]]) -> None:
    """Split, merged, and packed for another process."""
    batches, wanted = [], {}
    for number, found in enumerate(marks):
        items = [transaction(f"u{number}-{index}", index) for index in range(3)]
        own = (found * 3)[:3]
        wanted |= dict(zip((item.user_id for item in items), own or [0] * 3, strict=True))
        rows = [(item.user_id,) for item in items]
        batches.append((f"g{number}", Featured(items, rows, own, 1, 7)))
    routing = Routing(8, 3)
    merged = [batch for _, batch in _merged(batches, lambda item: routing.shard(item[0].user_id))]
    merged = pickle.loads(pickle.dumps(merged))
    actual = {}
    for batch in merged:
        assert [item.user_id for item in batch.items] == [row[0] for row in batch.rows]
        actual |= dict(zip((item.user_id for item in batch.items), batch.marks or [0] * len(batch.items), strict=True))
    assert actual == wanted
    assert (sum(batch.repeated for batch in merged), {batch.columns for batch in merged}) == (len(batches), {7})
