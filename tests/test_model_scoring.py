"""Scores are River's own, reasons are exact, and the record survives its topic."""

import json
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, optim

from operators.features.plan import Plan
from operators.model.encoding import Encoder, Input
from operators.model.pipeline import AdaGradRegression, OnlinePipeline
from operators.model.scoring import Reason, Scorer, TrainedOn, Weights, WeightsError, sigmoid
from operators.model.specification import Specification, parse_model
from operators.transactions.records import Transaction

FEATURES = """
name = "m"
prior = 0.05
[learning]
optimiser = "{optimiser}"
rate = {rate}
l2 = {l2}
[[feature]]
name = "amount"
value = "amount"
transform = "standardise"
[[feature]]
name = "balance"
value = "old_balance"
transform = "standardise"
[[feature]]
name = "log"
value = "amount"
transform = "log"
[[feature]]
name = "bin"
value = "amount"
transform = "bins"
bins = [10, 100]
[[feature]]
name = "type"
value = "type"
transform = "onehot"
values = ["A", "B"]
missing = true
"""

specifications = st.builds(
    lambda optimiser, rate, l2: parse_model(FEATURES.format(optimiser=optimiser, rate=rate, l2=l2)),
    st.sampled_from(["adagrad", "ftrl", "sgd"]),
    st.sampled_from([0.01, 0.1, 0.5]),
    st.sampled_from([0.0, 0.001]),
)
transactions = st.builds(
    lambda amount, balance, kind: Transaction("card", "t", 0, "u", amount, type=kind, old_balance=balance),
    st.floats(0, 1_000, width=32),
    st.none() | st.floats(0, 1_000, width=32),
    st.sampled_from([None, "A", "B", "C"]),
)
histories = st.lists(st.tuples(transactions, st.booleans(), st.sampled_from([1.0, 1.0, 3.0])), max_size=30)


def trained(
    spec: Specification, history: list[tuple[Transaction, bool, float]]
) -> tuple[OnlinePipeline, Encoder, Weights]:
    pipeline, encoder = OnlinePipeline(spec), Encoder(spec, Plan.of(spec.names, allowed_lateness=0))
    for transaction, is_fraud, weight in history:
        pipeline.learn(encoder.encode([transaction], [()])[0], is_fraud, weight)
    bias, weights = pipeline.fold()
    return pipeline, encoder, Weights("m", 1, TrainedOn(len(history), 0), bias, weights, 0)


@settings(deadline=None)
@given(specifications, histories, st.lists(transactions, min_size=1, max_size=5))
def test_a_score_is_rivers_own_prediction(
    spec: Specification, history: list[tuple[Transaction, bool, float]], batch: list[Transaction]
) -> None:
    pipeline, encoder, weights = trained(spec, history)
    inputs = encoder.encode(batch, [()] * len(batch))
    assert Scorer(weights).scores(inputs) == pytest.approx([pipeline.predict(x) for x in inputs], abs=1e-9)


names = st.sampled_from([f"feature {number}" for number in range(12)])
values = st.floats(-3, 3).map(lambda value: round(value, 6))


@given(values, st.dictionaries(names, values), st.dictionaries(names, values))
def test_bias_and_contributions_add_up_to_the_logit_of_the_score(
    bias: float, weights: dict[str, float], x: Input
) -> None:
    scorer = Scorer(Weights("m", 1, TrainedOn(1, 1), bias, {name: w / 4 for name, w in weights.items()}, 0))
    (score,) = scorer.scores([x])
    assert score is not None
    reasons = scorer.reasons(x)
    logit = log(score / (1 - score)) if 0 < score < 1 else bias + sum(reason.contribution for reason in reasons)
    assert bias + sum(reason.contribution for reason in reasons) == pytest.approx(logit, rel=1e-9, abs=1e-6)
    assert all(reason.contribution != 0 for reason in reasons)
    sizes = [abs(reason.contribution) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)


def test_reasons_name_the_strongest_first_and_ties_by_name() -> None:
    weights = {"a": 1.0, "b": -2.0, "c": 1.0, "d": 0.0}
    scorer = Scorer(Weights("m", 1, TrainedOn(1, 1), 0.5, weights, 0))
    x = {"c": 1.0, "a": 1.0, "b": 1.0, "d": 1.0, "unknown": 4.0}
    assert scorer.reasons(x) == [Reason("b", 1.0, -2.0), Reason("a", 1.0, 1.0), Reason("c", 1.0, 1.0)]
    assert scorer.scores([x]) == [sigmoid(0.5)]


def test_without_a_model_there_is_no_score() -> None:
    scorer = Scorer(None)
    assert scorer.scores([{"a": 1.0}, {}]) == [None, None]
    assert scorer.reasons({"a": 1.0}) == []


@pytest.mark.parametrize(("logit", "score"), [(0.0, 0.5), (1e4, 1.0), (-1e4, 0.0), (2.0, 0.8807970779778823)])
def test_no_logit_overflows(logit: float, score: float) -> None:
    assert sigmoid(logit) == score
    assert Scorer(Weights("m", 1, TrainedOn(1, 1), logit, {}, 0)).scores([{}]) == [score]


def test_a_cold_model_says_the_prior_and_a_weight_counts_as_so_many_steps() -> None:
    spec = parse_model(FEATURES.format(optimiser="sgd", rate=0.1, l2=0.0))
    pipeline = OnlinePipeline(spec)
    assert pipeline.predict({"x": 1.0}) == pytest.approx(0.05)
    pipeline.learn({"x": 1.0}, True, 3.0)
    assert pipeline.fold()[1] == pytest.approx({"x": 0.1 * 3.0 * 0.95})


def test_the_record_of_the_topic() -> None:
    weights = Weights(
        "fraud-lr", 7, TrainedOn(5_000, 12), -4.5, {"amount < 1": 0.25}, 1_733_324_400_123, {"brier": 0.1}
    )
    assert json.loads(weights.to_json()) == {
        "name": "fraud-lr",
        "version": 7,
        "trained_on": {"examples": 5000, "frauds": 12},
        "bias": -4.5,
        "weights": {"amount < 1": 0.25},
        "published_at": "2024-12-04T15:00:00.123Z",
        "metrics": {"brier": 0.1},
    }
    assert Weights.from_json(weights.to_json()) == weights


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{", b""),
        (b'"version":7', b'"version":"x"'),
        (b'"bias":-4.5', b'"bias":1e999'),
        (b'"bias":-4.5', b'"bias":null'),
        (b"0.25", b"null"),
        (b"15:00:00.123Z", b"15:00:00.123"),
    ],
)
def test_a_wrong_record_is_refused(old: bytes, new: bytes) -> None:
    good = Weights("m", 7, TrainedOn(1, 1), -4.5, {"a": 0.25}, 1_733_324_400_123).to_json()
    assert old in good
    with pytest.raises(WeightsError):
        Weights.from_json(good.replace(old, new))


examples = st.tuples(
    st.dictionaries(st.sampled_from("abcde"), st.floats(-5, 5)), st.booleans(), st.sampled_from([1.0, 0.3, 40.0, 1e14])
)


@given(st.lists(examples, max_size=60), st.booleans())
def test_the_faster_regression_is_rivers_to_the_bit(history: list[tuple[Input, bool, float]], falling: bool) -> None:
    ours, rivers = (
        regression(
            optimizer=optim.AdaGrad(optim.schedulers.InverseScaling(0.3, 0.2) if falling else 0.3),
            intercept_init=-2.0,
            intercept_lr=0.05,
        )
        for regression in (AdaGradRegression, linear_model.LogisticRegression)
    )
    for x, is_fraud, weight in history:
        ours.learn_one(x, is_fraud, w=weight)
        rivers.learn_one(x, is_fraud, w=weight)
        assert (ours.intercept, dict(ours.weights)) == (rivers.intercept, dict(rivers.weights))
        assert (ours.optimizer.g2, ours.optimizer.n_iterations) == (rivers.optimizer.g2, rivers.optimizer.n_iterations)
