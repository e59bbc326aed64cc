"""Derived fields and completed labels: the engine against the oracle, and what is promised of them in small tables."""

from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.features import busy, values
from operators.features.fields import FieldError, Fields, FieldSpec
from operators.features.labels import Labelled
from operators.features.names import FROM_LABELS, NUMERIC, OF_ANY_FIELD
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.transactions.records import Label, Transaction
from tests.oracle_fields import FieldOracle
from tests.test_features_windows import LATENESS, START, close, slow, streams

VALUES = [
    "amount > 2 * mean_amount_3s_before",
    "min(amount, 3 * (sum_NAME_ever_before + 30) / (count_ever_before + 3))",  # a winsorised amount
    "amount - mean_amount_ever_before_by_merchant",
    "is_new_location_1m",
    "not one",
    "two",
    "last_location_3s_before",
    "(one and count_3s > 1) or sum_amount_1m_by_country > 40",
    "country",
    "max_one_3s_before < 1 and old_balance > 2",
    "amount + 0.9 * sum_NAME_last1_before",  # a decayed sum
    "distinct_location_3s + 1000 * count_last3_by_country",
    "fraud_rate_3s > 0.05 or fraud_count_ever_by_country > 1",
    "amount * 1e8",
    "-old_balance * amount",
    "sum_two_3s - 7",
    "missing(merchant)",
    "amount > 1.2 * mean_amount_3s",
    "sum_amount_3s + max_amount_3s_by_country",
    "last_location_3s",
    "count_tumbling_2s + min_amount_last3",
]
WINDOWS = ["1s", "3s", "1m", "tumbling_2s", "last1", "last3", "ever"]
ENTITIES = ["", "", "_by_merchant", "_by_country", "_by_amount"]
NAMES = ["one", "two", "three"]
OTHERS = ["count_3s", "fraud_rate_3s_by_country", "fraud_count_ever_by_merchant", "seconds_since_last_by_country"]


def plan_of(random: Random, repeats: bool) -> Plan:
    """Three fields, some features of them, and others; what is refused is left out."""
    specs: list[FieldSpec] = []
    for name in NAMES:
        value = random.choice(VALUES).replace("NAME", name)
        try:
            Fields([*specs, FieldSpec(name, value)])
            specs.append(FieldSpec(name, value))
        except FieldError:
            specs.append(FieldSpec(name, "amount > 5"))
    fields = Fields(specs)
    features = [random.choice(OTHERS), *(_feature(random, fields) for _ in range(random.randrange(6)))]
    wanted = ["one"]
    for name in features:
        try:
            Plan.of([*wanted, name], allowed_lateness=LATENESS, fields=fields, repeats=repeats)
            wanted.append(name)
        except FieldError:  # a circle through two entities
            continue
    return Plan.of(wanted, allowed_lateness=LATENESS, fields=fields, repeats=repeats)


def _feature(random: Random, fields: Fields) -> str:
    name = random.choice(NAMES)
    kind = fields[name].type.kind
    if kind == "boolean" and random.random() < 0.4:
        window = random.choice([window for window in WINDOWS if window != "tumbling_2s"])
        return f"{random.choice(FROM_LABELS)}_{name}_{window}{random.choice(ENTITIES)}"
    stem = random.choice(OF_ANY_FIELD if kind == "text" else (*NUMERIC, *OF_ANY_FIELD))
    before = "" if stem == "is_new" else random.choice(["", "_before"])
    return f"{stem}_{name}_{random.choice(WINDOWS)}{before}{random.choice(ENTITIES)}"


class Engine:
    """The windows of a plan as the flow drives them: a repeated transaction goes no further than the user's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.windows = [Windows(entity) for entity in plan.entities]

    def update(self, events: list[Transaction]) -> tuple[list[Transaction], list[tuple[Any, ...]], set[str]]:
        """The events that are none again, their rows, and the ids of those that were too late anywhere."""
        late: set[str] = set()
        rows: list[tuple[Any, ...]] = [()] * len(events)
        for windows in self.windows:
            own = windows.update(events, rows)
            late |= {events[i].transaction_id for i in windows.last_late}
            rows = [row + more for row, more in zip(rows, own, strict=True)]
            events = [event for i, event in enumerate(events) if i not in windows.last_repeated]
            rows = [row for i, row in enumerate(rows) if i not in windows.last_repeated]
        return events, rows, late

    def labels(self, labels: list[Label]) -> None:
        for windows in self.windows:
            if windows.plan.takes_told_labels:
                windows.labels([Labelled.of(label, windows.plan) for label in labels])
        for windows in self.windows:
            if windows.plan.memory is not None:
                completed = windows.complete(labels)
                for other in self.windows:
                    if other.plan.takes_completed_labels:
                        other.labels([label.of(other.plan) for label in completed])

    def restore(self) -> None:
        self.windows = [Windows(windows.plan, windows.snapshot()) for windows in self.windows]


@settings(slow, max_examples=200)
@given(
    st.integers(0, 400),
    st.booleans(),
    streams([0, 0, 500, 1000, 3000, 70_000], [0, 0, 0, 500, 1000, 2000, 4000]),
    st.randoms(use_true_random=False),
)
def test_derived_fields_and_labels_are_those_of_the_oracle(
    seed: int, repeats: bool, batches: list[list[Transaction]], random: Random
) -> None:
    agree(plan_of(Random(seed), repeats), batches, random)


@pytest.mark.parametrize("seed", range(40))
def test_long_streams_agree_too(seed: int) -> None:
    """Logs that grow, are trimmed, widened and entered in the middle."""
    random = Random(seed)
    clock, events = START, []
    pace = random.choice([100, 300, 1000, 4000])
    for _ in range(120):
        clock += random.randrange(pace)
        behind = random.choice([0, 0, 0, random.randrange(LATENESS), LATENESS])
        events.append(
            Transaction(
                "card",
                "",
                clock - behind,
                random.choice(["ann", "ann", "bob"]),
                random.choice([float(random.randrange(20)), random.random() * 100, random.random() * 1e9]),
                merchant_id=random.choice([None, "m1", "m2"]),
                country=random.choice([None, "FR", "DE"]),
                location=random.choice([None, *"pqrst"]),
                old_balance=random.choice([None, random.uniform(-1000, 1000)]),
            )
        )
    cuts = sorted({0, len(events), *(random.randrange(120) for _ in range(5))})
    batches = [events[start:end] for start, end in pairwise(cuts)]
    agree(plan_of(random, seed % 2 == 0), batches, random, busy_from=1 if seed % 3 == 0 else busy.BUSY_FROM)


def agree(plan: Plan, batches: list[list[Transaction]], random: Random, busy_from: int = busy.BUSY_FROM) -> None:
    engine, oracle = Engine(plan), FieldOracle(plan.fields)
    number = 0

    def learn(events: list[Transaction]) -> None:
        labels = [_label(event, random) for event in events]
        engine.labels(labels)
        oracle.label(labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "BUSY_FROM", busy_from)
        patch.setattr(busy, "BUSY_FROM", busy_from)
        for batch in batches:
            new = []
            for event in batch:
                number += 1
                new.append(msgspec.structs.replace(event, transaction_id=str(number)))
            learn(random.sample(new, random.randrange(len(new) + 1) // 3))  # ahead of their transactions
            for event in new:
                again = [event] * (1 + (plan.entities[0].repeats and random.random() < 0.2))
                entered, rows, late = engine.update(again)
                assert (len(entered), late) == (1, set())
                oracle.add(event)
                for name, value in zip(plan.columns, rows[0], strict=True):
                    expected = oracle.value(name, event)
                    assert close(value, expected, name), (name, event, value, expected)
            learn(random.sample(new, random.randrange(len(new) + 1)))
            engine.restore()


def _label(event: Transaction, random: Random) -> Label:
    arrives_at = event.event_time + random.choice([0, 700, 2000, 9000])
    told = event.merchant_id if random.random() < 0.5 else None
    return Label(event.transaction_id, random.random() < 0.5, arrives_at, "analyst", event.user_id, told)
