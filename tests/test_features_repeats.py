"""Warming up, repeated transactions, labels: small tables."""

import msgspec
import pytest

from operators.features.plan import Plan
from operators.features.windows import Labelled, Windows
from operators.transactions.records import Label
from tests.test_features_state import HOUR, LATENESS, START, event, plan_of


def test_a_window_is_full_once_events_have_come_in_for_its_length() -> None:
    plan = plan_of("count_1m", "sum_amount_tumbling_1h", "count_last5", "seconds_since_last")
    windows = Windows(plan)
    assert (windows.since, windows.full_from()) == (None, {})
    windows.update([event(5), event(3), event(99)])
    since = START + 5000
    assert windows.since == since
    full = {"count_1m": since + 60_000, "sum_amount_tumbling_1h": since + HOUR}
    assert windows.full_from() == full | {"count_last5": since, "seconds_since_last": since}
    assert Windows(plan, windows.snapshot()).full_from() == windows.full_from()
    whole = Plan.of(plan.columns, allowed_lateness=0)
    assert [whole.warm_after(name) for name in ("count_1m", "sum_amount_tumbling_1h", "count_last5")] == [
        60_000,
        HOUR,
        0,
    ]


def test_a_window_that_a_changed_plan_adds_is_full_once_what_the_log_had_and_what_came_since_fill_it() -> None:
    windows = Windows(plan_of("count_1h", "distinct_location_1m"))
    windows.update([event(60 * minute, location="rome") for minute in range(300)])
    newest, since = START + 299 * 60_000, START
    added = (
        "count_1h",
        "distinct_country_1m",
        "last_location_1m",
        "max_amount_1m",
        "std_amount_2h",
        "sum_old_balance_1h",
    )
    windows = Windows(plan_of(*added), windows.snapshot())
    kept = newest - HOUR - LATENESS
    expected = {
        "count_1h": since + HOUR,
        "distinct_country_1m": newest + 60_000,
        "last_location_1m": kept + 60_000,
        "max_amount_1m": kept + 60_000,
        "std_amount_2h": kept + 2 * HOUR,
        "sum_old_balance_1h": newest + HOUR,
    }
    assert windows.full_from() == expected
    again = Windows(windows.plan, windows.snapshot())
    assert again.full_from() == expected
    changed = Windows(plan_of("std_amount_2h", "count_1m"), again.snapshot())
    assert changed.full_from()["std_amount_2h"] == kept + 2 * HOUR


def repeating(*names: str) -> Windows:
    (plan,) = Plan.of(names, allowed_lateness=LATENESS, repeats=True).entities
    return Windows(plan)


def test_a_retry_is_told_and_has_the_values_of_the_first_as_of_now() -> None:
    windows = repeating("count_1m", "sum_amount_1m_before")
    first, other = event(1, amount=5), msgspec.structs.replace(event(2, amount=7), transaction_id="2")
    assert windows.update([first, other, first]) == [(1, 0.0), (2, 5.0), (1, 0.0)]
    assert windows.last_repeated == [2]
    assert windows.update([msgspec.structs.replace(event(0), transaction_id="3"), first]) == [(1, 0.0), (2, 1.0)]
    assert (windows.last_repeated, windows.last_late) == ([1], [])
    windows = Windows(windows.plan, windows.snapshot())
    assert windows.update([first]) == [(2, 1.0)]
    assert windows.last_repeated == [0]


def test_a_retry_is_known_for_as_long_as_events_may_be_late() -> None:
    windows = repeating("count_1h")
    windows.update([event(0), event(LATENESS / 1000), event(3 * LATENESS / 1000)])
    assert windows.last_repeated == [1]
    windows.update([event(5, user="bob"), event(5, user="bob", transaction_id="2")])
    assert windows.last_repeated == []


def test_a_late_retry_is_known_though_its_first_lies_further_behind_the_latest() -> None:
    windows = repeating("count_1h")
    lateness = LATENESS / 1000
    latest = event(1.5 * lateness, transaction_id="latest")
    windows.update([event(0), event(0.1), latest, event(0.6 * lateness)])
    assert (windows.last_repeated, windows.last_late) == ([1, 3], [])


def test_a_retry_is_found_among_few_and_among_many() -> None:
    for many in (3, 31, 32, 33, 70):
        windows = repeating("count_1h")
        windows.update([event(number / 10, transaction_id=f"{number}") for number in range(many)])
        first, last = event(many / 10, transaction_id="0"), event(many / 10, transaction_id=f"{many - 1}")
        windows.update([first, event(many / 10, transaction_id="new"), last])
        assert windows.last_repeated == [0, 2]
        windows.update([event(many / 10, amount=2, transaction_id="0")])
        assert windows.last_repeated == [], "the same id with another amount is another transaction"


def test_repeats_are_recognised_without_any_window() -> None:
    windows = repeating()
    assert windows.update([event(0), event(1), event(500)]) == [(), (), ()]
    assert windows.last_repeated == [1]
    plan = Plan.of(["count_1h", "count_1h_by_merchant"], allowed_lateness=LATENESS)
    assert [entity.repeats for entity in plan.entities] == [False, False]
    plan = Plan.of(["count_1h", "count_1h_by_merchant"], allowed_lateness=LATENESS, repeats=True)
    assert [entity.repeats for entity in plan.entities] == [True, False]


def test_a_state_from_before_repeats_were_recognised_knows_no_ids() -> None:
    windows = Windows(plan_of("count_1h"))
    windows.update([event(0)])
    again = Windows(repeating("count_1h").plan, windows.snapshot())
    assert again.update([event(0), event(1)]) == [(2,), (2,)]
    assert again.last_repeated == [1]


def test_labels_in_the_window_and_its_edges() -> None:
    windows = Windows(plan_of("fraud_count_1m", "fraud_rate_1m", "fraud_count_last2", "fraud_rate_ever"))
    windows.labels([Labelled("ann", True, START + 60_000), Labelled(None, True, START), Labelled("bob", True, START)])
    windows.labels([Labelled("ann", False, START + 30_000), Labelled("ann", True, START + 20_000)])
    rows = windows.update([event(0), event(20), event(20.001), event(60), event(80), event(80.001), event(120.001)])
    assert [row[0] for row in rows] == [0, 0, 1, 1, 2, 1, 0]  # not at the moment of its arrival, but after it
    assert [row[1] for row in rows] == [0, 0, 1, 1, 1, 1, 1]
    assert [row[2] for row in rows[:3]] == pytest.approx([0.01, 0.01, 1.1 / 11])
    assert rows[-1][3] == pytest.approx(2.1 / 13)


def test_labels_are_not_kept_for_longer_than_they_count() -> None:
    windows = Windows(plan_of("fraud_count_1m", "fraud_count_last3"))
    for second in range(1000):
        windows.update([event(second)])
        windows.labels([Labelled("ann", True, START + second * 1000)])
    assert windows.update([event(1000)]) == [(60, 3)]
    assert len(windows._logs.labels[None].logs["ann"].times) < 100
    for number in range(20_000):
        windows.labels([Labelled(f"user-{number}", True, START)])
    assert Windows(windows.plan, windows.snapshot()).update([event(1001)]) == [(59, 3)]
    windows = Windows(plan_of("fraud_count_1m"))
    windows.update([event(1000)])
    for number in range(20_000):
        windows.labels([Labelled(f"user-{number}", True, START)])
    assert len(windows._logs.labels[None].logs) < 10_000
    windows = Windows(plan_of("count_1m"))
    windows.labels([Labelled("ann", True, START)])
    assert not windows._logs.labels


def test_a_label_has_the_keys_of_its_transaction() -> None:
    label = Label("1", True, START, "analyst", "ann", "shop", None)
    keys = [
        Labelled.of(label, plan_of(f"fraud_count_1m_by_{entity}")).key for entity in ("user", "merchant", "receiver")
    ]
    assert keys == ["ann", "shop", None]


def test_labels_that_a_changed_plan_asks_for_count_from_then_on() -> None:
    windows = Windows(plan_of("count_1m", "fraud_count_1m"))
    windows.update([event(0), event(1000)])
    windows = Windows(plan_of("fraud_count_1h", "fraud_count_1m"), windows.snapshot())
    kept = START + 1_000_000 - 60_000 - LATENESS
    assert windows.full_from() == {"fraud_count_1h": kept + HOUR, "fraud_count_1m": START + 60_000}
    windows = Windows(plan_of("count_1m"))
    windows.update([event(0), event(1000)])
    windows = Windows(plan_of("fraud_count_1h"), windows.snapshot())
    assert windows.full_from() == {"fraud_count_1h": START + 1_000_000 + HOUR}
