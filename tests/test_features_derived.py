"""Derived fields and completed labels in small tables: what they are, and what is refused, kept and counted."""

import re
from pathlib import Path
from typing import Any

import pytest

from fraudflow.rules.footprint import footprint
from operators.features.chain import Chain
from operators.features.completion import CompletedLabel, LabelCompletion
from operators.features.fields import FieldError, Fields, FieldSpec
from operators.features.labels import PRIOR, PRIOR_WEIGHT
from operators.features.passes import check_passes
from operators.features.plan import LabelMemory, Plan, known_in
from operators.features.windows import Windows
from operators.rules.checking import check_rules
from operators.transactions.records import Label, Transaction
from tests.records import DAY, HOUR, MINUTE, NOON, transaction

ROOT = Path(__file__).parent.parent


def fields_of(**values: str) -> Fields:
    return Fields(FieldSpec(name, value) for name, value in values.items())


def plan_of(*names: str, fields: Fields, **options: Any) -> Plan:
    return Plan.of(names, allowed_lateness=HOUR, fields=fields, **options)


def rows(plan: Plan, *transactions: Transaction) -> list[dict[str, Any]]:
    return [dict(zip(plan.columns, row, strict=True)) for row in Chain(plan).update(transactions)]


UNUSUAL = "amount > 2.5 * mean_amount_30d_before"


def test_a_field_is_computed_at_the_event_and_aggregated_by_any_entity() -> None:
    plan = plan_of("unusual", "sum_unusual_1h", "sum_unusual_1h_by_merchant", fields=fields_of(unusual=UNUSUAL))
    amounts = [(0, "ann", 10.0), (1, "ann", 26.0), (2, "bob", 500.0), (3, "ann", 100.0), (90, "ann", 20.0)]
    found = rows(plan, *(transaction(user, at * MINUTE, amount, merchant_id="m") for at, user, amount in amounts))
    assert [row["unusual"] for row in found] == [False, True, False, True, False]
    assert [row["sum_unusual_1h"] for row in found] == [0.0, 1.0, 0.0, 2.0, 0.0]
    assert [row["sum_unusual_1h_by_merchant"] for row in found] == [0.0, 1.0, 1.0, 2.0, 0.0]


def test_what_was_computed_stays_when_a_late_event_changes_what_it_was_computed_from() -> None:
    plan = plan_of("unusual", "sum_unusual_1h", "mean_amount_30d_before", fields=fields_of(unusual=UNUSUAL))
    late = transaction("ann", MINUTE, 1000.0)
    found = rows(plan, transaction("ann", 0, 10.0), transaction("ann", 2 * MINUTE, 30.0), late)
    assert found[2] == {"mean_amount_30d_before": 10.0, "sum_unusual_1h": 1.0, "unusual": True}
    (again,) = rows(plan, transaction("ann", 0, 10.0), late, transaction("ann", 2 * MINUTE, 30.0))[2:]
    assert again["unusual"] is False, "in the other order"


def test_a_mean_can_be_winsorised_and_a_sum_decayed_by_fields_that_go_on_from_their_own_past() -> None:
    """The two that docs/windows.md shows."""
    fields = fields_of(
        cut="min(amount, 3 * (sum_cut_ever_before + 300) / (count_ever_before + 3))",
        total="amount + 0.9 * sum_total_last1_before",
    )
    plan = plan_of("mean_cut_ever", "total", fields=fields)
    amounts = [10.0, 20.0, 30.0, 1_000_000.0, 10.0]
    kept, total = list[float](), 0.0
    for row, amount in zip(
        rows(plan, *(transaction("ann", i, a) for i, a in enumerate(amounts))), amounts, strict=True
    ):
        kept.append(min(amount, round(3 * (sum(kept) + 300) / (len(kept) + 3), 4)))
        total = round(amount + 0.9 * total, 4)
        assert row["mean_cut_ever"] == pytest.approx(sum(kept) / len(kept))
        assert row["total"] == total
    assert kept[3] == 180.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("amount / 3", 3.3333),  # to 1/10000
        ("amount * 1e10", None),  # 1e11 and beyond
        ("-amount * 9e9", -9e10),
        ("log(amount - 10)", None),
        ("old_balance * 2", None),
        ("event_time * event_time * event_time", None),
        (" * ".join(["event_time"] * 11) + " * 1.5", None),
        ("country", "FR"),
        ("last_country_1h_before", None),
        ("is_new_country_1h", True),
        ("missing(old_balance)", True),
        ("old_balance > 1", False),
        ("True", True),
        ("'x'", "x"),
        ("7", 7.0),
    ],
)
def test_values_and_what_is_missing(value: str, expected: Any) -> None:
    plan = plan_of("one", "last_one_1h", fields=fields_of(one=value))
    (row,) = rows(plan, transaction("ann", 0, 10.0, country="FR"))
    assert row["one"] == row["last_one_1h"] == expected
    assert type(row["one"]) is type(row["last_one_1h"]) is type(expected)


def test_a_field_without_any_window_and_one_of_a_missing_entity() -> None:
    fields = fields_of(big="amount > 100", odd="amount > 2 * mean_amount_1h_before_by_merchant or amount > 1000")
    assert rows(plan_of("big", fields=fields), transaction("ann", 0, 101.0)) == [{"big": True}]
    plan = plan_of("odd", "sum_odd_1h", fields=fields)
    found = rows(plan, transaction("ann", 0, 10.0), transaction("ann", 1, 2000.0), transaction("ann", 2, 2.0))
    assert [(row["odd"], row["sum_odd_1h"]) for row in found] == [(False, 0.0), (True, 1.0), (False, 1.0)]


def test_an_entity_is_gone_through_again_only_where_it_needs_another() -> None:
    fields = fields_of(unusual=UNUSUAL, odd="amount > 2 * mean_amount_7d_before_by_merchant")
    plan = plan_of("sum_unusual_1h", "sum_unusual_1h_by_merchant", fields=fields, repeats=True)
    assert [entity.name for entity in plan.entities] == ["user", "merchant"]
    plan = plan_of("count_1m", "sum_odd_1h", "fraud_rate_odd_7d_by_country", fields=fields, repeats=True)
    assert [(e.name, e.entity, [f.name for f in e.features]) for e in plan.entities] == [
        ("user", "user", ["count_1m"]),
        ("merchant", "merchant", ["mean_amount_7d_before_by_merchant"]),
        ("user_2", "user", ["sum_odd_1h"]),
        ("country", "country", ["fraud_rate_odd_7d_by_country"]),
    ]
    assert [entity.memory is not None for entity in plan.entities] == [False, False, True, False]
    assert plan.made_of == {"odd": {"mean_amount_7d_before_by_merchant"}}
    assert plan.warm_after("odd") == 7 * DAY


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"a": "amont > 1"}, "unknown name 'amont'; nearest known: amount"),
        ({"a": "amount > 'x'"}, "a number cannot be compared with a text"),
        ({"a": "user_id in list('x')"}, "only a rule can ask a list"),
        ({"a": "amount >"}, "not an expression"),
        ({"a": "sum_b_1h", "b": "country"}, "'b' is no amount"),
        ({"a": "fraud_count_b_1h", "b": "amount"}, "no derived field .* that is true or false"),
        ({"a": "a"}, "a circle, a → a: 'a' is nothing but itself"),
        ({"a": "b + 1", "b": "c", "c": "a * 2"}, "circle, a → b → c → a"),
        ({"a": "sum_a_1h > 2"}, "holds the event's own 'a'; sum_a_1h_before leaves the event itself out"),
        ({"a": "is_new_a_1h"}, "nothing but itself|holds the event's own"),
        ({"Big": "amount"}, "a small letter"),
        ({"count_1h": "amount"}, "'1h' is what windows are called by"),
        ({"x_by_y": "amount"}, "'by' is what windows are called by"),
        ({"amount": "1"}, "a name of something else"),
        ({"is_night": "1 > 2"}, "a name of something else"),
        ({"speed_kmh": "1"}, "a name of something else"),
        ({"min": "1"}, "a name of something else"),
        ({"lambda": "1"}, "a name of something else"),
        ({f"f{letter}{other}": "1" for letter in "abcdefghijk" for other in "abcdefghijk"}, "at most 100"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_the_reason(values: dict[str, str], told: str) -> None:
    with pytest.raises(FieldError, match=told) as refused:
        fields_of(**values)
    assert refused.value.name in values


def test_a_circle_through_two_entities_is_refused() -> None:
    fields = fields_of(a="amount + sum_a_1h_before + sum_a_1h_before_by_merchant")
    with pytest.raises(FieldError, match="circle through the windows of merchant and user"):
        check_passes(fields)
    with pytest.raises(FieldError, match="labels of transactions"):
        check_passes(fields_of(a="fraud_count_a_1h_by_merchant > 1"))
    check_passes(fields_of(a="fraud_count_a_1h > 1"))


def test_two_files_share_a_namespace() -> None:
    Fields([FieldSpec("a", "amount > 1"), FieldSpec("a", "(amount>1)")])
    with pytest.raises(FieldError, match="'a' has two values, 'amount > 1' and 'amount > 2'"):
        Fields([FieldSpec("a", "amount > 1"), FieldSpec("a", "amount > 2")])


def test_names_of_fields_are_offered_for_a_misspelt_one() -> None:
    known = known_in(fields_of(unusual=UNUSUAL))
    assert known("sum_unusual_7d")[1:] == ("number", False)
    assert known("fraud_count_unusual_last3_by_category")[1:] == ("number", True)
    assert known("last_unusual_7d")[1:] == ("boolean", False)
    for misspelt, offered in [
        ("unusuall", "unusual"),
        ("sum_unusul_7d", "sum_unusual_7d"),
        ("fraud_count_unusul_7d", "fraud_count_unusual_7d"),
    ]:
        with pytest.raises(ValueError, match=offered):
            known(misspelt)


def test_the_tables_that_the_contract_shows_are_right() -> None:
    shown = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "windows.md").read_text(), re.DOTALL)
    assert len(shown) == 2
    for text in shown:
        assert check_rules(text).problems == []


# Labels


def label(number: int, user: str, is_fraud: bool, at: int, merchant: str | None = None) -> Label:
    return Label(f"{user}-{number}", is_fraud, NOON + at, "analyst", user, merchant)


def paid(number: int, user: str, at: int, amount: float = 1.0, **others: Any) -> Transaction:
    return transaction(user, at, amount, transaction_id=f"{user}-{number}", **others)


def test_a_label_counts_with_the_key_and_the_fields_of_its_transaction() -> None:
    fields = fields_of(big="amount > 100", plain="not big")
    names = ["fraud_count_1d_by_country", "fraud_count_plain_1d_by_country", "fraud_rate_plain_last2_by_country"]
    plan = plan_of(*names, "fraud_count_big_ever_by_merchant", fields=fields)
    chain = Chain(plan)
    chain.update([paid(n, "ann", n, 500.0 if n == 0 else 1.0, country="FR", merchant_id="m") for n in range(4)])
    chain.labels(
        [label(0, "ann", True, 10), label(1, "ann", True, 11), label(2, "ann", False, 12), label(3, "bob", True, 9)]
    )
    (row,) = chain.update([paid(9, "bob", MINUTE, country="FR", merchant_id="m")])
    found = dict(zip(plan.columns, row, strict=True))
    assert found["fraud_count_1d_by_country"] == 2
    assert found["fraud_count_plain_1d_by_country"] == 1
    assert found["fraud_rate_plain_last2_by_country"] == pytest.approx((1 + PRIOR * PRIOR_WEIGHT) / (2 + PRIOR_WEIGHT))
    assert found["fraud_count_big_ever_by_merchant"] == 1


def test_a_label_that_comes_before_its_transaction_waits_for_it() -> None:
    plan = plan_of("fraud_count_1d_by_country", fields=fields_of())
    chain = Chain(plan)
    chain.labels([label(1, "ann", True, 5)])
    assert chain.update([paid(1, "ann", 0, country="FR")]) == [(0,)]
    chain.labels([])
    assert chain.update([paid(2, "ann", 10, country="FR")]) == [(1,)]


MEMORY = LabelMemory(maturity=HOUR, room=3, keys=("country",), fields=())


def remembered(*transactions: Transaction) -> LabelCompletion:
    completion = LabelCompletion(MEMORY, (), ())
    met(completion, *transactions)
    return completion


def met(completion: LabelCompletion, *transactions: Transaction, row: tuple[Any, ...] = ()) -> list[CompletedLabel]:
    return completion.transactions(transactions, (), [row] * len(transactions))


def test_what_is_remembered_ends_with_the_maturity_and_the_room_and_is_counted() -> None:
    completion = remembered(*(paid(n, "ann", n) for n in range(5)))
    assert (len(completion), completion.counts.dropped) == (3, 2)
    assert completion.labels([label(0, "ann", True, 9)]) == []
    assert len(completion.labels([label(4, "ann", True, 9), label(4, "ann", False, 10)])) == 2, "a correction too"
    met(completion, paid(9, "bob", HOUR + 3))
    assert len(completion) == 2, "an hour after it came, the last that came before is still there"
    met(completion, paid(10, "bob", 2 * HOUR))
    assert (len(completion), completion.counts.dropped) == (2, 2), "what is past its time was not dropped"
    assert completion.counts.unmatched == 1, "and the label for the first has waited for long enough"
    met(completion, paid(10, "bob", 2 * HOUR))
    assert completion.counts.repeated == 1


def test_labels_without_a_transaction_are_given_up_and_counted() -> None:
    completion = remembered()
    completion.labels([label(n, "eve", True, n) for n in range(10)])
    assert completion.counts.unmatched == 7
    completion.labels([label(9, "eve", True, n) for n in range(10)])
    assert completion.counts.surplus == 7
    assert len(met(completion, paid(9, "eve", 0))) == 4


def test_the_memory_survives_a_snapshot_and_a_changed_plan() -> None:
    completion = remembered(paid(1, "ann", 0, country="FR"), paid(2, "ann", 1))
    completion.labels([label(3, "ann", True, 5)])
    wider = LabelMemory(HOUR, 3, ("category", "country"), ("big",))
    for again in (
        LabelCompletion(MEMORY, (), (), completion.snapshot()),
        LabelCompletion(wider, (), ("big",), completion.snapshot()),
    ):
        (first,) = again.labels([label(1, "ann", True, 5)])
        assert first.keys[-1] == "FR"
        assert first.fields == ()
        assert len(met(again, paid(3, "ann", 2), row=(True,))) == 1
        assert again.counts == completion.counts


# State


def test_a_changed_definition_keeps_what_was_stored_and_tells_since_when_it_is_new() -> None:
    (old,) = plan_of("sum_big_1h", "count_1h", fields=fields_of(big="amount > 100")).entities
    (new,) = plan_of("sum_big_1h", "count_1h", fields=fields_of(big="amount > 10")).entities
    windows = Windows(old)
    windows.update([paid(n, "ann", n * MINUTE, 50.0 if n else 500.0) for n in range(3)])
    again = Windows(new, windows.snapshot())
    assert again.update([paid(9, "ann", 3 * MINUTE, 50.0)]) == [(4, 2.0, True)]
    assert again.full_from()["sum_big_1h"] == NOON + 2 * MINUTE + HOUR
    assert again.full_from()["count_1h"] == NOON + HOUR
    assert Windows(old, windows.snapshot()).full_from()["sum_big_1h"] == NOON + HOUR


def test_a_field_that_was_not_kept_is_missing_of_earlier_events() -> None:
    fields = fields_of(big="amount > 100")
    (old,) = plan_of("count_1h", fields=fields).entities
    (new,) = plan_of("mean_big_1h", "sum_big_1h", fields=fields).entities
    windows = Windows(old)
    windows.update([paid(1, "ann", 0, 500.0)])
    again = Windows(new, windows.snapshot())
    assert again.update([paid(2, "ann", 1, 500.0), paid(3, "ann", 2, 5.0)]) == [(1.0, 1.0, True), (0.5, 1.0, False)]


def test_totals_that_64_bits_cannot_hold_make_older_events_leave_and_stop_nothing() -> None:
    plan = plan_of("sum_huge_1h", "std_huge_1h", "count_1h", fields=fields_of(huge="-amount * 9e10"))
    windows = Windows(plan.entities[0])
    late = [paid(n, "ann", n - 500 * (n % 50 == 0), 1.0) for n in range(12_000)]
    *_, (count, deviation, total, _) = windows.update(late)
    assert windows.cut > 0
    assert total == -9e10 * count
    assert deviation == 0.0


def test_the_footprint_of_every_pass_can_be_measured() -> None:
    fields = fields_of(odd="amount > 2 * mean_amount_7d_before_by_merchant", name="last_country_1h_before")
    plan = plan_of("sum_odd_1h", "fraud_rate_odd_7d_by_country", "distinct_name_1h_by_category", fields=fields)
    assert len(plan.entities) == 4
    assert all(footprint(entity).memory > 50 for entity in plan.entities)
