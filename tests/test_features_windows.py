"""The engine against the oracle, on random input: out of order, tied, of many keys, cut and restored anywhere."""

from itertools import pairwise, product
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.features import buckets, busy, logs, pages, texts, values
from operators.features.names import AMOUNTS, ENTITIES, NUMERIC, OF_ANY_FIELD
from operators.features.plan import EntityPlan, Plan
from operators.features.windows import Labelled, Windows
from operators.transactions.records import Transaction
from tests.depth import examples
from tests.oracle import Oracle

LATENESS = 4_000
START = 1_733_324_400_000
WINDOWS = ["1s", "3s", "1m", "50d", "tumbling_2s", "tumbling_1m", "last1", "last3", "ever"]
FIELDS = ["amount", "old_balance", "location", "merchant_id", "format"]


def names(windows: list[str]) -> list[str]:
    """Every aggregate over every window."""
    stems = [
        "count",
        *(f"{aggregate}_{field}" for aggregate, field in product(NUMERIC, [f for f in FIELDS if f in AMOUNTS])),
        *(f"{aggregate}_{field}" for aggregate, field in product(OF_ANY_FIELD, FIELDS)),
    ]
    plain = [f"{stem}_{window}" for stem, window in product(stems, windows)]
    return [
        *plain,
        *(f"{name}_before" for name in plain if not name.startswith("is_new")),
        "seconds_since_last",
        "speed_kmh",
    ]


amounts = st.one_of(
    st.integers(0, 20).map(float),
    st.decimals(0, 10_000, places=4).map(float),
    st.sampled_from([0.0, 0.0001, 999_999_999.9999, 1e9]),
)
balances = st.one_of(st.none(), st.integers(-5, 5).map(float), st.sampled_from([1e12, 12_345_678.91]))
EVENT = st.builds(
    Transaction,
    format=st.sampled_from(["simple", "card"]),
    transaction_id=st.just("1"),
    event_time=st.just(0),
    user_id=st.sampled_from(["ann", "bob", "ann", "ann"]),
    amount=amounts,
    merchant_id=st.sampled_from([None, "m1", "m2", "m3"]),
    country=st.sampled_from([None, "FR", "DE"]),
    location=st.sampled_from([None, "paris", "rome", "ürümqi"]),
    latitude=st.sampled_from([None, 0.0, 48.85, -90.0]),
    longitude=st.sampled_from([None, 2.35, 180.0, -180.0]),
    old_balance=balances.filter(lambda value: value != 1e12),
)


@st.composite
def streams(draw: st.DrawFn, steps: list[int], behind: list[int]) -> list[list[Transaction]]:
    """Batches of events: a clock goes on by one of `steps`, each event lies one of `behind` before it."""
    clock = START
    events = []
    for event in draw(st.lists(EVENT, min_size=1, max_size=40)):
        clock += draw(st.sampled_from(steps))
        events.append(_at(event, clock - draw(st.sampled_from(behind))))
    cuts = sorted(draw(st.sets(st.integers(0, len(events)), max_size=4)) | {0, len(events)})
    return [events[start:end] for start, end in pairwise(cuts)]


def _at(event: Transaction, time: int) -> Transaction:
    return msgspec.structs.replace(event, event_time=time)


def plan_of(*names: str, allowed_lateness: int = LATENESS) -> EntityPlan:
    (plan,) = Plan.of(names, allowed_lateness=allowed_lateness).entities
    return plan


def close(actual: Any, expected: Any, name: str) -> bool:
    if name.startswith(("std", "speed")) and actual is not None and expected is not None:
        return bool(actual == pytest.approx(expected, rel=1e-7, abs=1e-3))
    return bool(actual == expected) and (actual is None) == (expected is None)


def agree(plan: EntityPlan, batches: list[list[Transaction]], restore: bool = True) -> int:
    """Hold the engine to the oracle; returns how many events were too late."""
    windows, oracle = Windows(plan), Oracle(plan.features, plan.allowed_lateness)
    total, newest = 0, 0
    for batch in batches:
        rows = windows.update(batch)
        assert len(rows) == len(batch)
        for i, (event, row) in enumerate(zip(batch, rows, strict=True)):
            expected, late = oracle.add(event)
            told = i in windows.last_late
            # One far behind all keys is told, too, if events of its key may have been forgotten.
            newest = max(newest, event.event_time)
            assert told == late or (told and event.event_time < newest - plan.allowed_lateness)
            total += told
            if not told:
                for name, value in zip(plan.columns, row, strict=True):
                    assert close(value, expected[name], name), (name, event, value, expected[name])
        if restore:
            windows = Windows(plan, windows.snapshot())
    assert windows.late == total
    return total


plans = st.lists(st.sampled_from(names(WINDOWS)), min_size=1, max_size=8, unique=True)
slow = settings(
    max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@slow
@given(plans, streams([0, 0, 500, 1000, 3000], [0, 0, 0, 500, 1000, 2000, 4000]))
def test_values_are_those_of_the_oracle_within_the_allowed_lateness(
    chosen: list[str], batches: list[list[Transaction]]
) -> None:
    agree(plan_of(*chosen), batches)


@slow
@given(plans, streams([0, 500, 1000, 60_000], [0, 0, 0, 500, 3000, 5000, 120_000]))
def test_events_that_are_too_late_are_told_and_spoil_nothing_later(
    chosen: list[str], batches: list[list[Transaction]]
) -> None:
    agree(plan_of(*chosen), batches)


DAY = 86_400_000


@settings(slow, max_examples=examples(150))
@given(plans, streams([0, 1000, DAY, 10 * DAY, 60 * DAY], [0, 0, 0, 1000, 4000]))
def test_values_stay_right_over_months(chosen: list[str], batches: list[list[Transaction]]) -> None:
    agree(plan_of(*chosen), batches)


@settings(slow, max_examples=examples(150))
@given(
    st.sampled_from(ENTITIES),
    st.lists(st.sampled_from(names(["3s", "tumbling_2s", "last3", "ever"])), min_size=1, max_size=4, unique=True),
    streams([0, 500, 1000], [0, 0, 500, 4000]),
)
def test_every_field_can_be_an_entity(entity: str, chosen: list[str], batches: list[list[Transaction]]) -> None:
    agree(plan_of(*(f"{name}_by_{entity}" for name in chosen)), batches)


def test_every_name_works_alone() -> None:
    events = [
        Transaction("card", str(i), START + at, "ann", 10.0 + i, location=location, latitude=float(i), longitude=0.0)
        for i, (at, location) in enumerate([(0, "a"), (500, None), (500, "b"), (400, "c"), (9000, "a"), (8000, "b")])
    ]
    for name in names(WINDOWS):
        agree(plan_of(name), [events])


LONG = names(["3s", "1m", "tumbling_2s", "last1", "last3", "ever"])


def make_everything_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there for thousands of events is used for a few."""
    limits = {
        values: {"BUSY_FROM": 1},
        busy: {"BUSY_FROM": 1, "SWEEP_EVERY": 1, "LONG": 4},
        buckets: {"FULL": 2},
        logs: {"LONG_LOG": 40, "LONG_TRIM": 3, "SHORT_LOG": 3},
        pages: {"PAGE_BITS": 4, "PAGE": 16, "_WITHIN": 15},
        texts: {"SLACK": 0, "FRONT": 3, "ROW": 3, "AT_ONCE": 2},
    }
    for module, named in limits.items():
        for name, value in named.items():
            monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("all_busy", [False, True])
@pytest.mark.parametrize("seed", range(27))
def test_long_streams_of_few_keys_agree_with_the_oracle(
    seed: int, all_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs that grow, are trimmed, widened and entered in the middle, many times over."""
    if all_busy:
        make_everything_busy(monkeypatch)
    random = Random(seed)
    plan = plan_of(*random.sample(LONG[seed % 9 :: 9], 8))  # every name has its turn
    pace = random.choice([300, 1000, 4000, 40_000])
    clock, events = START, []
    for number in range(400):
        clock += random.randrange(pace)
        behind = random.choice([0, 0, 0, random.randrange(LATENESS), random.choice([LATENESS, 3 * pace, 20 * pace])])
        events.append(
            Transaction(
                random.choice(["simple", "card"]),
                str(number),
                clock - behind,
                random.choice(["ann", "ann", "bob"]),
                random.choice([float(random.randrange(100)), random.random() * 1000, random.random() * 1e9]),
                merchant_id=random.choice([None, None, *"abcdefgh"]),
                location=random.choice([None, None, *"pqrst"]),
                latitude=random.choice([None, random.uniform(-90, 90)]),
                longitude=random.uniform(-180, 180),
                old_balance=random.choice([None, random.uniform(-1000, 1000)]),
            )
        )
    cuts = sorted({0, len(events), *(random.randrange(400) for _ in range(5))})
    agree(plan, [events[start:end] for start, end in pairwise(cuts)], restore=seed % 2 == 0)


@settings(slow, max_examples=examples(200))
@given(
    st.lists(st.sampled_from(names(["1s", "3s", "tumbling_2s", "last3", "ever"])), max_size=5, unique=True),
    streams([0, 0, 500, 1000, 3000], [0, 0, 0, 500, 1000, 2000, 4000]),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_repeated_transaction_is_counted_once(
    chosen: list[str], batches: list[list[Transaction]], random: Random, all_busy: bool
) -> None:
    (plan,) = Plan.of(chosen, allowed_lateness=LATENESS, repeats=True).entities
    oracle = Oracle(plan.features, LATENESS)
    with pytest.MonkeyPatch.context() as patch:
        if all_busy:
            make_everything_busy(patch)
        windows = Windows(plan)
        for batch in batches:
            batch = [msgspec.structs.replace(event, transaction_id=random.choice("abcdefg") * 20) for event in batch]
            rows = windows.update(batch)
            for i, (event, row) in enumerate(zip(batch, rows, strict=True)):
                first = oracle.repeat_of(event)
                assert (first is not None) == (i in windows.last_repeated)
                if first is None:
                    expected, late = oracle.add(event)
                else:
                    expected, late = oracle.values_at(first, oracle.events[event.user_id]), False
                assert not late
                for name, value in zip(plan.columns, row, strict=True):
                    assert close(value, expected[name], name), (name, event, value, expected[name])
            windows = Windows(plan, windows.snapshot())


LABELS = ["fraud_count", "fraud_rate"]


@settings(slow, max_examples=examples(200))
@given(
    st.sampled_from(["user", "merchant", "receiver"]),
    st.lists(st.sampled_from([f"{a}_{w}" for a, w in product(LABELS, ["1s", "3s", "1m", "last1", "last3", "ever"])])),
    st.sampled_from(["count_1s", "sum_amount_ever"]),
    streams([0, 0, 500, 1000, 3000, 100_000], [0, 0, 0, 500, 1000, 2000, 4000]),
    st.randoms(use_true_random=False),
)
def test_labels_count_once_they_have_arrived(
    entity: str, chosen: list[str], other: str, batches: list[list[Transaction]], random: Random
) -> None:
    plan = plan_of(*(f"{name}_by_{entity}" for name in [*chosen, other]))
    windows, oracle = Windows(plan), Oracle(plan.features, LATENESS)
    for batch in batches:
        rows = windows.update(batch)
        for i, (event, row) in enumerate(zip(batch, rows, strict=True)):
            expected, _ = oracle.add(event)
            if i not in windows.last_late:
                assert dict(zip(plan.columns, row, strict=True)) == pytest.approx(expected), event
        arrived = []
        for event in random.sample(batch, random.randrange(len(batch) + 1)):
            key = getattr(event, plan.field)
            arrived.append(Labelled(key, random.random() < 0.5, event.event_time + random.choice([0, 700, 2000, 9000])))
        windows.labels(arrived)
        for label in arrived:
            oracle.label(label)
        windows = Windows(plan, windows.snapshot())
