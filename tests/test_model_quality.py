"""Prequential metrics, against River's own and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics

from operators.model.quality import Quality, average_precision, roc_auc

scores = st.floats(0, 1).map(lambda score: round(score, 2))
judged = st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=60)


@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=60, unique_by=lambda pair: pair[0]))
def test_roc_auc_is_rivers_where_no_scores_are_equal(examples: list[tuple[float, bool]]) -> None:
    quality, river = Quality(1_000), metrics.RollingROCAUC(window_size=1_000)  # type: ignore[no-untyped-call]
    for score, is_fraud in examples:
        quality.add(score, is_fraud)
        river.update(is_fraud, score)  # type: ignore[no-untyped-call]
    found = quality.metrics(0.5)
    if len({is_fraud for _, is_fraud in examples}) == 2:
        assert found["roc_auc"] == pytest.approx(river.get())  # type: ignore[no-untyped-call]
    else:
        assert "roc_auc" not in found


@given(judged)
def test_log_loss_is_rivers_and_the_rest_is_what_counting_gives(examples: list[tuple[float, bool]]) -> None:
    quality, river = Quality(1_000), metrics.LogLoss()  # type: ignore[no-untyped-call]
    for score, is_fraud in examples:
        quality.add(score, is_fraud)
        river.update(is_fraud, score)
    found = quality.metrics(0.5)
    assert found["log_loss"] == pytest.approx(river.get(), rel=1e-6)  # type: ignore[no-untyped-call]
    assert found["mean_score"] == pytest.approx(sum(score for score, _ in examples) / len(examples))
    assert found["fraud_rate"] == sum(is_fraud for _, is_fraud in examples) / len(examples)
    assert found["brier"] == pytest.approx(sum((score - fraud) ** 2 for score, fraud in examples) / len(examples))
    alerts = [is_fraud for score, is_fraud in examples if score >= 0.5]
    frauds = [score for score, is_fraud in examples if is_fraud]
    assert found.get("precision") == (sum(alerts) / len(alerts) if alerts else None)
    assert found.get("recall") == (sum(score >= 0.5 for score in frauds) / len(frauds) if frauds else None)


def test_average_precision_by_hand() -> None:
    score, fraud = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, True])
    # .9: precision 1, one of three found; .8 (a tie): 2 of 3; .1: 3 of 4
    assert average_precision(score, fraud) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_ties_count_half_in_roc_auc() -> None:
    assert roc_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


def test_only_the_window_counts() -> None:
    quality = Quality(2)
    for score, is_fraud in ((0.9, False), (0.8, True), (0.1, False)):
        quality.add(score, is_fraud)
    assert quality.metrics(0.5)["precision"] == 1.0


def test_nothing_judged_has_no_metrics() -> None:
    assert Quality(10).metrics(0.5) == {}
