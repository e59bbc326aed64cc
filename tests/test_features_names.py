"""The grammar of feature names, what is refused and what is offered instead; what a plan makes of names."""

import pytest

from operators.expressions import UnknownName
from operators.features.names import Feature, UnknownFeature, Window, parse_feature
from operators.features.plan import Plan
from operators.transactions.records import Transaction

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("count_1m", ("count", None, Window("trailing", MINUTE), "user", False)),
        ("count_45s", ("count", None, Window("trailing", 45_000), "user", False)),
        ("sum_amount_6h", ("sum", "amount", Window("trailing", 6 * HOUR), "user", False)),
        ("mean_amount_30d_before", ("mean", "amount", Window("trailing", 30 * DAY), "user", True)),
        ("count_tumbling_1m", ("count", None, Window("tumbling", MINUTE), "user", False)),
        ("sum_amount_tumbling_1d", ("sum", "amount", Window("tumbling", DAY), "user", False)),
        ("mean_amount_last20", ("mean", "amount", Window("last", 20), "user", False)),
        ("mean_amount_ever_before", ("mean", "amount", Window("ever", 0), "user", True)),
        ("last_location_last20", ("last", "location", Window("last", 20), "user", False)),
        ("distinct_location_5m", ("distinct", "location", Window("trailing", 5 * MINUTE), "user", False)),
        ("distinct_merchant_1h", ("distinct", "merchant_id", Window("trailing", HOUR), "user", False)),
        ("distinct_merchant_id_1h", ("distinct", "merchant_id", Window("trailing", HOUR), "user", False)),
        ("count_1h_by_merchant", ("count", None, Window("trailing", HOUR), "merchant", False)),
        ("count_1h_by_merchant_id", ("count", None, Window("trailing", HOUR), "merchant", False)),
        ("distinct_user_1d_by_receiver", ("distinct", "user_id", Window("trailing", DAY), "receiver", False)),
        ("count_1h_by_amount", ("count", None, Window("trailing", HOUR), "amount", False)),
        ("max_receiver_old_balance_1h", ("max", "receiver_old_balance", Window("trailing", HOUR), "user", False)),
        ("mean_amount_1d_before_by_country", ("mean", "amount", Window("trailing", DAY), "country", True)),
        ("mean_amount_1d_by_country_before", ("mean", "amount", Window("trailing", DAY), "country", True)),
        ("is_new_country_30d", ("is_new", "country", Window("trailing", 30 * DAY), "user", True)),
        ("fraud_rate_28d_by_merchant", ("fraud_rate", None, Window("trailing", 28 * DAY), "merchant", False)),
        ("fraud_count_last50", ("fraud_count", None, Window("last", 50), "user", False)),
        ("seconds_since_last", ("seconds_since_last", None, None, "user", True)),
        ("seconds_since_last_by_merchant", ("seconds_since_last", None, None, "merchant", True)),
        ("speed_kmh", ("speed_kmh", None, None, "user", True)),
    ],
)
def test_a_name_says_what_the_feature_is(name: str, feature: tuple[str, str | None, Window | None, str, bool]) -> None:
    aggregate, field, window, entity, before = feature
    assert parse_feature(name) == Feature(name, aggregate, field, window, entity, before)


@pytest.mark.parametrize(
    ("name", "why", "nearest"),
    [
        ("cuont_1m", "unknown name", "count_1m"),
        ("distinct_locaton_5m", "is no field", "distinct_location_5m"),
        ("sum_amuont_1h", "is no amount", "sum_amount_1h"),
        ("sum_country_1h", "is no amount", ""),
        ("sum_1h", "needs a field", "sum_amount_1h"),
        ("count_amount_1h", "takes no field", "count_1h"),
        ("count_1h_by_marchant", "is no entity", "count_1h_by_merchant"),
        ("count_1h_by_transaction_id", "is no entity", ""),
        ("count_1y", "as in 45s", ""),
        ("count_0m", "at least 1s", ""),
        ("count_500d", "at most 400d", ""),
        ("mean_amount_last0", "last 1 to 1000", ""),
        ("mean_amount_last9999", "last 1 to 1000", ""),
        ("is_new_country_30d_before", "never looks at the event itself", "is_new_country_30d"),
        ("count_1h_before_by_user_before", "stands twice", "count_1h_before_by_user"),
        ("fraud_rate_28d_by_merchant_before", "never has the event's own label", "fraud_rate_28d_by_merchant"),
        ("fraud_count_tumbling_7d", "no tumbling window", "fraud_count_7d"),
        ("fraud_count_amount_7d", "is no derived field", "fraud_count_7d"),
        ("fruad_rate_7d", "unknown name", "fraud_rate_7d"),
        ("amonut", "unknown name", "amount"),
        ("speed_kph", "unknown name", "speed_kmh"),
        ("__import__", "unknown name", ""),
        ("", "unknown name", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_reason_and_the_nearest(name: str, why: str, nearest: str) -> None:
    with pytest.raises(UnknownFeature, match=why) as refused:
        parse_feature(name)
    assert isinstance(refused.value, UnknownName)
    if nearest:
        assert nearest in refused.value.nearest
        assert nearest in str(refused.value)
    for offered in refused.value.nearest:
        Plan.of([offered], allowed_lateness=0)


def test_a_plan_keeps_only_what_is_named_the_user_first() -> None:
    names = ["count_1h_by_merchant", "amount", "is_night", "sum_amount_1h", "count_1m", "count_1m"]
    plan = Plan.of(names, allowed_lateness=1000)
    assert [(entity.entity, entity.field) for entity in plan.entities] == [
        ("user", "user_id"),
        ("merchant", "merchant_id"),
    ]
    assert plan.columns == ("count_1m", "sum_amount_1h", "count_1h_by_merchant")
    assert plan.entities[0].retention == HOUR + 1000
    assert plan.name("count_1h_by_merchant") == ("f[2]", "number", True)
    assert plan.name("count_1m") == ("f[0]", "number", False)
    assert plan.name("merchant") == ("t.merchant_id", "text", True)
    with pytest.raises(UnknownName, match="not kept"):
        plan.name("count_2m")
    with pytest.raises(UnknownName, match="count_1m"):
        plan.name("cuont_1m")
    assert Plan.of(["amount"], allowed_lateness=0).entities == ()


@pytest.mark.parametrize(
    ("time", "hour", "night", "weekend"),
    [
        (0, 0, True, False),  # Thursday 1970-01-01T00:00:00Z
        (6 * HOUR - 1, 5, True, False),
        (6 * HOUR, 6, False, False),
        (2 * DAY - 1, 23, False, False),
        (2 * DAY, 0, True, True),  # Saturday
        (4 * DAY - 1, 23, False, True),  # Sunday
        (4 * DAY, 0, True, False),
        (1_733_324_400_000, 15, False, False),  # Wednesday 2024-12-04T15:00:00Z
    ],
)
def test_hour_night_and_weekend_are_those_of_utc(time: int, hour: int, night: bool, weekend: bool) -> None:
    plan = Plan.of([], allowed_lateness=0)
    t = Transaction("simple", "1", time, "ann", 1.0)
    values = [eval(plan.name(name).code, {"t": t}) for name in ("hour_of_day", "is_night", "is_weekend")]
    assert values == [hour, night, weekend]


@pytest.mark.parametrize(
    ("name", "kind", "nullable"),
    [
        ("sum_old_balance_1h", "number", False),
        ("mean_amount_1h", "number", False),
        ("mean_amount_1h_before", "number", True),
        ("mean_old_balance_1h", "number", True),
        ("std_amount_1h", "number", True),
        ("last_location_1h_before", "text", True),
        ("last_amount_1h", "number", False),
        ("is_new_country_1h", "boolean", True),
        ("is_new_user_1h", "boolean", False),
        ("seconds_since_last", "number", True),
        ("distinct_location_1h", "number", False),
        ("fraud_rate_1h", "number", False),
        ("fraud_count_1h_by_merchant", "number", True),
        ("distinct_location_1h_by_category", "number", True),
    ],
)
def test_the_kind_of_a_value_and_whether_it_can_be_missing_are_known(name: str, kind: str, nullable: bool) -> None:
    assert Plan.of([name], allowed_lateness=0).name(name)[1:] == (kind, nullable)
