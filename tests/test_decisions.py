"""Decisions, alerts, cooldown and live statistics."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.decisions import alerts
from operators.decisions.cooldown import Alert, Cooldown
from operators.decisions.decide import Decider, Thresholds
from operators.decisions.statistics import (
    NANOSECONDS,
    WINDOW,
    LiveStatistics,
    bucket,
    latency_of,
    partial_of,
    partial_of_dead_letters,
    quantile,
)
from operators.features.plan import Plan
from operators.measurements import MEASUREMENTS
from operators.model.encoding import Encoder
from operators.model.scoring import TrainedOn, Weights
from operators.model.specification import parse_model
from operators.rules import parse_rules
from operators.transactions.records import DeadLetter
from tests.records import MINUTE, NOON, SECOND, transaction

RULES = """
[[rule]]
id = "big"
when = "amount > 100"
severity = "high"
message = "{amount} is much"
[[rule]]
id = "huge"
when = "amount > 1000"
severity = "critical"
decision = "block"
[[rule]]
id = "tried"
when = "amount > 50"
mode = "shadow"
"""

MODEL = """
name = "m"
[[feature]]
name = "amount"
value = "amount"
transform = "number"
[[feature]]
name = "home"
value = 'country == "FR"'
transform = "flag"
"""
WEIGHTS = Weights("m", 7, TrainedOn(100, 3), -2.0, {"amount": 0.01, "home": -1.0}, NOON)


def decider(weights=None, rules=RULES, model=MODEL):
    plan = Plan.of(("amount", "country"), allowed_lateness=0)
    encoder = Encoder(parse_model(model), plan) if model else None
    made = Decider(parse_rules(rules), plan.name, encoder, Thresholds(0.5, 0.9), models=["m"])
    if weights:
        made.use(weights)
    return made


def decide(*transactions, **options):
    return decider(**options).decide(transactions, [()] * len(transactions), NOON + 5)


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def test_without_a_model_only_rules_decide():
    decided = decide(transaction(amount=10), transaction(amount=101), transaction(amount=1001))
    assert [(d.verdict, d.severity, [hit.id for hit in d.hits]) for d in decided.suspicious] == [
        ("review", "high", ["big"]),
        ("block", "critical", ["big", "huge"]),
    ]
    assert decided.scores == [None] * 3
    assert [(d.score, d.model, d.reasons) for d in decided.suspicious] == [(None, None, [])] * 2


def test_without_a_specification_there_are_no_inputs_either():
    decided = decide(transaction(amount=101), model=None)
    assert len(decided.suspicious) == 1
    assert decided.scores == [None]


def test_the_score_alone_reviews_and_blocks():
    decided = decide(transaction(amount=10), transaction(amount=49), weights=WEIGHTS)
    assert decided.suspicious == []
    rules = '[[rule]]\nid = "never"\nwhen = "amount > 1_000_000"'
    decided = decide(transaction(amount=201), transaction(amount=500), weights=WEIGHTS, rules=rules)
    assert [(d.verdict, d.severity, d.by_score) for d in decided.suspicious] == [
        ("review", "medium", "review"),
        ("block", "high", "block"),
    ]


def test_reasons_add_up_to_the_logit_of_the_score():
    (decision,) = decide(transaction(amount=300, country="FR"), weights=WEIGHTS).suspicious
    assert decision.score == pytest.approx(sigmoid(-2.0 + 3.0 - 1.0))
    assert decision.model.bias + sum(reason.contribution for reason in decision.reasons) == pytest.approx(
        math.log(decision.score / (1 - decision.score))
    )
    assert [reason.feature for reason in decision.reasons] == ["amount", "home"]


def test_a_shadow_rule_is_counted_and_never_alerts():
    decided = decide(transaction(amount=60), transaction(amount=101))
    assert decided.hits == {("tried", "medium"): 2, ("big", "high"): 1}
    assert [hit.id for d in decided.suspicious for hit in d.hits] == ["big"]


def test_the_weights_in_force_survive_a_restart():
    before = decider(WEIGHTS)
    after = decider()
    after.restore(before.snapshot())
    assert after.weights == WEIGHTS
    fresh = decider()
    fresh.restore(decider().snapshot())
    assert fresh.weights is None


def alert_of(amount=300.0, **fields):
    decided = decide(
        transaction(amount=amount, country="FR", currency="EUR", merchant_id="m1", **fields), weights=WEIGHTS
    )
    return Alert(decided.suspicious[0], 2)


def test_the_record_of_an_alert():
    record = orjson.loads(alerts.to_json(alert_of()))
    assert list(record) == [
        "alert_id", "transaction_id", "user_id", "event_time", "detected_at", "amount", "currency", "decision",
        "severity", "risk_score", "model", "rules", "reasons", "suppressed_count", "late", "warming_up", "transaction",
    ]  # fmt: skip
    assert record["alert_id"] == alerts.alert_id("u1@0")
    assert record["event_time"] == "2024-12-04T12:00:00.000Z"
    assert record["detected_at"] == "2024-12-04T12:00:00.005Z"
    assert record["model"] == {"name": "m", "version": 7, "bias": -2.0}
    assert record["rules"] == [
        {
            "id": "big", "version": 1, "severity": "high", "message": "300 is much", "evidence": {"amount": 300.0},
            "warming_up": [],
        }
    ]  # fmt: skip
    assert (record["late"], record["warming_up"]) == (False, [])
    assert [reason["feature"] for reason in record["reasons"]] == ["amount", "home"]
    assert record["suppressed_count"] == 2
    assert record["transaction"]["merchant_id"] == "m1"
    assert record["transaction"]["event_time"] == record["event_time"]


def test_an_alert_tells_what_was_not_complete_of_what_made_it():
    plan = Plan.of(("count_1h", "count_2h", "sum_amount_1d", "count_9h"), allowed_lateness=0)
    model = """
    name = "m"
    [[feature]]
    name = "spent"
    value = "sum_amount_1d"
    transform = "bins"
    bins = [10]
    [[feature]]
    name = "rare"
    when = "count_9h > 100"
    value = "amount"
    """
    rules = """
    [[rule]]
    id = "busy"
    when = "count_1h > 3 and amount > 1"
    [[rule]]
    id = "idle"
    when = "count_2h > 100"
    message = "{count_1h}"
    """
    specification = parse_model(model)
    made = Decider(
        parse_rules(rules),
        plan.name,
        Encoder(specification, plan),
        Thresholds(0.5, 0.9),
        columns=plan.columns,
        models=[specification.name],
    )
    rows = [tuple({"count_1h": 4, "count_2h": 5, "count_9h": 6, "sum_amount_1d": 7.0}[name] for name in plan.columns)]
    everything = [2 * (2 ** len(plan.columns) - 1)]

    def told(marks):
        decided = made.decide([transaction()], rows, NOON, marks)
        (decision,) = decided.suspicious
        return decided.late, decision.late, decision.warming_up, [hit.warming_up for hit in decision.hits]

    assert told([]) == told([0]) == (0, False, [], [[]])
    assert told([1]) == (1, True, [], [[]])
    assert told(everything) == (0, False, ["count_1h"], [["count_1h"]])
    made.use(Weights("m", 1, TrainedOn(9, 1), 0.5, {"spent < 10": 1.0, "rare": 3.0}, NOON))
    assert told(everything) == (0, False, ["count_1h", "sum_amount_1d"], [["count_1h"]])
    decision = made.decide([transaction()], rows, NOON, [everything[0] | 1]).suspicious[0]
    fields = alerts.to_point(Alert(decision, 0)).fields
    assert (fields["late"], fields["warming_up"]) == (True, "count_1h, sum_amount_1d")


def test_the_identity_of_an_alert_depends_on_the_transaction_alone():
    other_weights = Weights("m", 8, TrainedOn(200, 3), -2.1, {"amount": 0.011}, NOON)
    again = decide(transaction(amount=300, country="FR"), weights=other_weights).suspicious[0]
    first, second = alert_of(), Alert(again, 0)
    assert orjson.loads(alerts.to_json(first))["alert_id"] == orjson.loads(alerts.to_json(second))["alert_id"]
    assert alerts.to_point(first).time_ns == alerts.to_point(second).time_ns


def test_points_of_one_millisecond_keep_apart():
    points = [alerts.to_point(alert_of(transaction_id=f"t{i}")) for i in range(50)]
    assert len({point.time_ns for point in points}) == 50
    assert {point.time_ns // 1_000_000 for point in points} == {NOON}


def test_the_point_of_an_alert_fits_its_measurement():
    for weights in (None, WEIGHTS):
        point = alerts.to_point(Alert(decide(transaction(amount=300.0), weights=weights).suspicious[0], 0))
        measurement = MEASUREMENTS[point.measurement]
        assert set(point.tags) == set(measurement.tags)
        assert all(isinstance(value, measurement.fields[name]) for name, value in point.fields.items())


COOLED = """
[[rule]]
id = "often"
when = "amount > 100"
cooldown = "1m"
[[rule]]
id = "worse"
when = "amount > 1000"
severity = "critical"
cooldown = "1m"
[[rule]]
id = "always"
when = "amount == 77"
"""


def cooled(events, snapshot_at=None, weights=None):
    """(time, suppressed count) of each alert for `events` of (time, amount, user)."""
    cooldown = Cooldown()
    made = decider(weights, rules=COOLED)
    sent = []
    for number, (at, amount, user) in enumerate(events):
        if number == snapshot_at:
            cooldown = Cooldown(cooldown.snapshot())
        decided = made.decide([transaction(user, at, amount)], [()], NOON)
        sent += [(at, alert.suppressed_count) for alert in cooldown.apply(decided.suspicious)]
    return sent


@pytest.mark.parametrize("snapshot_at", [None, 1, 2, 3])
def test_repeats_within_the_cooldown_are_folded_into_the_next_alert(snapshot_at):
    events = [(0, 200, "u1"), (10 * SECOND, 200, "u1"), (59_999, 200, "u1"), (60 * SECOND, 200, "u1")]
    assert cooled(events, snapshot_at) == [(0, 0), (60 * SECOND, 2)]


def test_users_cool_down_apart():
    assert cooled([(0, 200, "u1"), (1, 200, "u2")]) == [(0, 0), (1, 0)]


def test_a_jump_in_severity_alerts_at_once():
    assert cooled([(0, 200, "u1"), (1, 200, "u1"), (2, 2000, "u1"), (3, 2000, "u1")]) == [(0, 0), (2, 1)]


def test_a_rule_without_a_cooldown_is_never_kept_back():
    assert cooled([(0, 77, "u1"), (1, 77, "u1")]) == [(0, 0), (1, 0)]


def test_a_score_that_alerts_by_itself_is_never_kept_back():
    events = [(0, 250, "u1"), (1, 250, "u1")]
    assert cooled(events) == [(0, 0)]
    assert cooled(events, weights=WEIGHTS) == [(0, 0), (1, 0)]


def test_cooldowns_that_are_over_are_forgotten():
    cooldown = Cooldown()
    made = decider(rules=COOLED)
    for number in range(100):
        decided = made.decide([transaction(f"u{number}", number * MINUTE, 200)], [()], NOON)
        cooldown.apply(decided.suspicious)
    assert len(cooldown.users) <= 2


def judged(*transactions, **options):
    return partial_of(decide(*transactions, **options))


def arrived(second, amount=10.0, **fields):
    return transaction(at=second * SECOND, amount=amount, transaction_id=f"{second}-{amount}", **fields)


START = NOON // 1000


def windows(points):
    return {p.time_ns // NANOSECONDS - START: p.fields for p in points if p.measurement == "live_stats"}


def test_the_window_holds_the_last_30_seconds():
    statistics = LiveStatistics()
    statistics.add([judged(arrived(0, 10), arrived(0, 300)), judged(arrived(29, 20)), judged(arrived(30, 5))])
    told = windows(statistics.points())
    assert told[0] == {"count": 2, "frauds": 1, "amount": 310.0, "fraud_amount": 300.0, "fraud_share": 300 / 310}
    assert (told[29]["count"], told[29]["frauds"]) == (3, 1)
    assert (told[30]["count"], told[30]["frauds"], told[30]["fraud_share"]) == (2, 0, 0.0)
    assert (min(told), max(told)) == (0, 30)


def test_the_window_empties_when_nothing_arrives_and_then_is_silent():
    statistics = LiveStatistics()
    statistics.add([judged(arrived(0))])
    told = {}
    for second in range(60):
        told |= windows(statistics.points(START + second))
        assert statistics.settled == (second >= WINDOW)
    assert told[29]["count"] == 1
    assert told[30]["count"] == 0
    assert max(told) == 30


def test_what_comes_late_corrects_the_windows_that_it_is_in():
    statistics = LiveStatistics()
    statistics.add([judged(arrived(40))])
    statistics.points()
    statistics.add([judged(arrived(20))])
    told = windows(statistics.points())
    assert told[20]["count"] == 1
    assert told[40]["count"] == 2


def test_a_quiet_hour_is_not_told_second_by_second():
    statistics = LiveStatistics()
    statistics.add([judged(arrived(0))])
    statistics.points()
    statistics.add([judged(arrived(3000))])
    assert len(windows(statistics.points())) == WINDOW + 1


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from([1.25, 0.1, 300.0])), max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_the_last_word_on_each_window_is_the_same_however_batches_fall(events, cuts):
    batches = [judged(arrived(second, amount)) for second, amount in events]
    whole = LiveStatistics()
    whole.add(batches)
    wanted = windows(whole.points())
    statistics, told = LiveStatistics(), {}
    batches = [judged(arrived(second, amount)) for second, amount in events]
    for number, one in enumerate(batches):
        statistics.add([one])
        if number in cuts:
            told |= windows(statistics.points())
            statistics = LiveStatistics(statistics.snapshot())
    told |= windows(statistics.points())
    for second, fields in wanted.items():
        assert told[second] == fields


def test_the_pipeline_is_told_second_by_second():
    letters = [DeadLetter("not_json", "", "t", 0, i, None, b"", NOON) for i in range(3)]
    statistics = LiveStatistics()
    statistics.add([judged(arrived(0, 60), arrived(0, 300)), partial_of_dead_letters(letters)])
    points = [point for point in statistics.points() if point.measurement != "live_stats"]
    assert all(set(point.tags) <= set(MEASUREMENTS[point.measurement].tags) for point in points)
    assert all(
        isinstance(value, MEASUREMENTS[point.measurement].fields[name])
        for point in points
        for name, value in point.fields.items()
    )
    pipeline = next(point for point in points if point.measurement == "pipeline" and not point.tags)
    assert (pipeline.fields["transactions"], pipeline.fields["alerts"], pipeline.fields["dead_letters"]) == (2, 1, 3)
    assert pipeline.fields["latency_p50_ms"] == 5.0
    assert [p.fields for p in points if p.tags == {"reason": "not_json"}] == [{"rejected": 3}]
    hits = {point.tags["rule"]: point.fields["hits"] for point in points if point.measurement == "rule_hits"}
    assert hits == {"tried": 2, "big": 1}


@given(st.integers(0, 10_000_000))
def test_latencies_are_kept_to_five_percent(milliseconds):
    upper = latency_of(bucket(milliseconds))
    assert milliseconds <= upper <= milliseconds * 1.045 + 1e-6


def test_quantiles():
    histogram = {1: 50, 2: 49, 100: 1}
    assert [quantile(histogram, share) for share in (0.5, 0.99, 1.0)] == [1.0, 2.0, 100.0]
