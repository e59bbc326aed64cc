"""The figures of an evaluation, each against counting by hand."""

from math import log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudflow.evaluation.comparison import summary
from fraudflow.evaluation.costs import Costs, cheapest, cost_curve, cost_of_decisions, parse_costs
from fraudflow.evaluation.judged import ALLOW, BLOCK, REVIEW, Judged
from fraudflow.evaluation.measures import at_capacity, at_precision, calibration, calibration_error, measure
from operators.decisions.decide import Thresholds

HOUR, DAY = 3_600_000, 86_400_000
THRESHOLDS = Thresholds(0.5, 0.9)


def judged(*rows: tuple[float | None, int, bool | None], amount: float = 10.0, step: int = HOUR) -> Judged:
    """Score, verdict and label of each; a user of its own each, `step` apart."""
    made = Judged()
    made.ids = [f"t{number}" for number in range(len(rows))]
    made.users = [f"u{number}" for number in range(len(rows))]
    made.rules = [() for _ in rows]
    made.time = np.arange(len(rows), dtype=np.int64) * step
    made.amount = np.full(len(rows), amount)
    made.score = np.array([nan if score is None else score for score, _, _ in rows])
    made.verdict = np.array([verdict for _, verdict, _ in rows], dtype=np.int8)
    made.label = np.array([-1 if label is None else label for _, _, label in rows], dtype=np.int8)
    return made


FIVE = judged(
    (0.95, BLOCK, True), (0.6, REVIEW, False), (0.4, ALLOW, True), (0.1, ALLOW, False), (0.92, BLOCK, False),
    (None, REVIEW, True), (0.8, REVIEW, None),
)  # fmt: skip


def test_what_is_measured_of_score_and_decisions() -> None:
    found = measure(FIVE, THRESHOLDS, 1, Costs())
    assert (found["transactions"], found["labelled"], found["frauds"], found["fraud_rate"]) == (7, 6, 3, 0.5)
    score = found["score"]
    assert (score["scored"], score["frauds"]) == (5, 2)
    # Of the six pairs, the fraud at 0.95 is above all three, the one at 0.4 above one.
    assert score["roc_auc"] == pytest.approx(4 / 6)
    assert score["average_precision"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert score["log_loss"] == pytest.approx(-(log(0.95) + log(0.4) + log(0.4) + log(0.9) + log(0.08)) / 5)
    assert score["brier"] == pytest.approx((0.05**2 + 0.6**2 + 0.6**2 + 0.1**2 + 0.92**2) / 5)
    assert score["mean_score"] == pytest.approx(2.97 / 5)
    assert score["at_review_threshold"] == {"threshold": 0.5, "above": 3, "precision": 1 / 3, "recall": 0.5}
    assert score["at_block_threshold"] == {"threshold": 0.9, "above": 2, "precision": 0.5, "recall": 0.5}
    decisions = found["decisions"]
    assert {name: decisions[name] for name in ("allow", "review", "block")} == {"allow": 2, "review": 3, "block": 2}
    assert (decisions["hits"], decisions["frauds"]) == (4, 2)  # the unlabelled one is no hit
    assert (decisions["precision"], decisions["recall"]) == (0.5, 2 / 3)


def test_what_each_rule_hits() -> None:
    FIVE.rules = [("a", "b"), ("a",), (), (), (), ("b",), ("a",)]
    rules = measure(FIVE, THRESHOLDS, 1, Costs())["rules"]
    FIVE.rules = [()] * 7
    assert rules == {
        "a": {"hits": 2, "frauds": 1, "precision": 0.5, "recall": 1 / 3},
        "b": {"hits": 2, "frauds": 2, "precision": 1.0, "recall": 2 / 3},
    }


def test_what_has_no_meaning_is_null() -> None:
    found = measure(judged((None, ALLOW, None)), THRESHOLDS, 1, Costs())
    assert found["fraud_rate"] is None
    assert found["score"]["roc_auc"] is found["score"]["expected_calibration_error"] is None
    assert found["at_capacity"]["card_precision"] is None
    assert measure(judged((0.2, ALLOW, False)), THRESHOLDS, 1, Costs())["score"]["average_precision"] is None


def test_calibration_error_is_the_mean_distance_of_score_and_rate() -> None:
    score, fraud = np.array([0.05, 0.05, 0.45, 0.41, 1.0]), np.array([False, True, False, False, True])
    bins = calibration(score, fraud)
    assert [(one.size, round(one.mean_score, 9), one.fraud_rate) for one in bins] == [
        (2, 0.05, 0.5), (2, 0.43, 0.0), (1, 1.0, 1.0),
    ]  # fmt: skip
    assert calibration_error(bins) == pytest.approx((2 * 0.45 + 2 * 0.43 + 0) / 5)


def test_card_precision_looks_at_so_many_users_a_day_and_at_nobody_twice() -> None:
    made = judged(*[(score, ALLOW, fraud) for score, fraud in (
        (0.9, True), (0.8, False), (0.3, False), (0.7, True),  # the first day
        (0.9, True), (0.6, True), (0.5, False), (0.2, False),  # the second
    )])  # fmt: skip
    made.time = np.array([0, 1, 2, 3, DAY, DAY + 1, DAY + 2, DAY + 3], dtype=np.int64)
    made.users = ["a", "b", "c", "c", "a", "d", "e", "f"]
    found = at_capacity(made, 2)
    # First day: a (fraud) and b (not). Second: a is known, so d (fraud) and e (not).
    assert found == {"cards_a_day": 2, "days": 2, "card_precision": 0.5, "card_recall": 2 / 3}
    assert at_capacity(made, 4)["card_precision"] == (2 / 4 + 1 / 4) / 2


def test_costs_are_parsed_or_refused_with_what_would_be_right() -> None:
    assert parse_costs("missed=amount,review=2.5,block=0") == Costs(None, 2.5, 0.0)
    assert parse_costs("missed=300") == Costs(300.0, 5.0, 50.0)
    for wrong in ("", "review", "review=amount", "block=-1", "missed=x", "review=1,review=2", "other=1", "block=nan"):
        with pytest.raises(ValueError, match=r"costs: .*wanted"):
            parse_costs(wrong)


def test_what_decisions_cost() -> None:
    found = cost_of_decisions(FIVE, Costs(None, 5.0, 50.0))
    assert found == {
        "missed": 10.0,  # the one at 0.4
        "review": 10.0,  # two that are labelled
        "block": 50.0,  # the one at 0.92
        "total": 70.0,
        "without_any_decision": 30.0,
    }
    assert cost_of_decisions(FIVE, Costs(7.0, 5.0, 50.0))["missed"] == 7.0


def test_the_cheapest_threshold() -> None:
    scored = FIVE.scored
    columns = FIVE.score[scored], FIVE.fraud[scored], FIVE.amount[scored]
    blocking = cheapest(cost_curve(*columns, Costs(None, 5.0, 6.0), blocking=True))
    assert blocking == {"threshold": 0.95, "cost": 10.0, "above": 1, "precision": 1.0, "recall": 0.5}
    reviewing = cheapest(cost_curve(*columns, Costs(None, 1.0, 0.0), blocking=False))
    assert reviewing == {"threshold": 0.4, "cost": 4.0, "above": 4, "precision": 0.5, "recall": 1.0}
    nothing = cheapest(cost_curve(*columns, Costs(0.0, 1.0, 0.0), blocking=False))
    assert (nothing["above"], nothing["cost"], nothing["precision"]) == (0, 0.0, None)


rows = st.lists(st.tuples(st.floats(0, 1).map(lambda x: round(x, 1)), st.booleans(), st.integers(1, 9)), min_size=1)


@given(rows, st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_a_cost_curve_is_what_counting_gives(
    rows: list[tuple[float, bool, int]], review: int, block: int, blocking: bool
) -> None:
    score, fraud, amount = (np.array(column) for column in zip(*rows, strict=True))
    curve = cost_curve(score, fraud, amount.astype(float), Costs(None, review, block), blocking=blocking)
    for threshold, cost, above in zip(curve.threshold, curve.cost, curve.above, strict=True):
        stopped = [row for row in rows if row[0] >= threshold]
        missed = sum(row[2] for row in rows if row[0] < threshold and row[1])
        price = block * sum(not row[1] for row in stopped) if blocking else review * len(stopped)
        assert (cost, above) == (missed + price, len(stopped))
    assert curve.above[-1] == 0
    assert len(set(curve.threshold)) == len(set(score)) + 1


def test_which_decisions_change() -> None:
    other = judged(
        (0.95, BLOCK, True), (0.6, ALLOW, False), (0.4, REVIEW, True), (0.1, REVIEW, False), (0.92, BLOCK, False),
        (None, REVIEW, True), (0.8, ALLOW, None),
    )  # fmt: skip
    assert summary(FIVE, other) == [
        {"from": "allow", "to": "review", "transactions": 2, "frauds": 1, "amount": 20.0},
        {"from": "review", "to": "allow", "transactions": 2, "frauds": 0, "amount": 20.0},
    ]
    assert summary(FIVE, FIVE) == []


scored = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.2, 0.5, 0.7, 0.9]), st.booleans()), max_size=12)


@given(scored, st.sampled_from([0.3, 0.5, 1.0]))
def test_the_most_recall_at_a_precision(rows: list[tuple[float, bool]], least: float) -> None:
    found = at_precision(np.array([score for score, _ in rows]), np.array([fraud for _, fraud in rows], bool), least)
    frauds = sum(fraud for _, fraud in rows)
    best: tuple[float, float, float] | None = None
    for threshold in {score for score, _ in rows}:
        above = [fraud for score, fraud in rows if score >= threshold]
        hits = sum(above)
        if hits and hits >= least * len(above) and (best is None or hits / frauds >= best[2]):
            best = max(best or (2.0, 0.0, 0.0), (threshold, hits / len(above), hits / frauds), key=lambda one: one[2])
    if found is None:
        assert best is None
        return
    assert best is not None
    assert found["recall"] == best[2]
    assert found["precision"] >= least
    above = [fraud for score, fraud in rows if score >= found["threshold"]]
    assert (found["precision"], found["recall"]) == (sum(above) / len(above), sum(above) / frauds)


payments = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from("abcd"), st.sampled_from([None, 0.1, 0.5, 0.5, 0.9]),
        st.sampled_from([None, False, True]),
    ),
    max_size=30,
)  # fmt: skip


@given(payments, st.integers(1, 3))
def test_card_precision_is_that_of_counting_by_hand(
    rows: list[tuple[int, str, float | None, bool | None]], n: int
) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    made = judged(*((score, ALLOW, label) for _, _, score, label in rows))
    made.users = [user for _, user, _, _ in rows]
    made.time = np.array([day * DAY for day, _, _, _ in rows], dtype=np.int64)
    known: set[str] = set()
    precisions = []
    for day in sorted({day for day, _, score, label in rows if score is not None and label is not None}):
        cards: dict[str, tuple[float, bool]] = {}
        for at, user, score, label in rows:
            if at == day and score is not None and label is not None and user not in known:
                highest, fraud = cards.get(user, (0.0, False))
                cards[user] = max(highest, score), fraud or label
        first = sorted(cards, key=lambda user: (-cards[user][0], user))[:n]
        caught = {user for user in first if cards[user][1]}
        known |= caught
        precisions.append(len(caught) / n)
    found = at_capacity(made, n)
    assert found["days"] == len(precisions)
    assert found["card_precision"] == (pytest.approx(np.mean(precisions)) if precisions else None)
