"""Prequential quality: each matured example judged by the score it had before its label was known."""

from collections import deque
from collections.abc import Iterable
from math import log

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-15
"""Scores are kept this far from 0 and 1 for the log-loss, as River's metrics do."""


class Quality:
    """The metrics over the latest `window` examples, computed anew from them whenever they are asked for: exact, the
    same after a restart, 2 ms for 10,000. (River's rolling metrics add and subtract, and do not store their state.)"""

    def __init__(self, window: int, scores: Iterable[float] = (), frauds: Iterable[bool] = ()) -> None:
        self.scores: deque[float] = deque(scores, maxlen=window)
        self.frauds: deque[bool] = deque(frauds, maxlen=window)

    def add(self, score: float, is_fraud: bool) -> None:
        """One matured example with the score it was decided on."""
        self.scores.append(score)
        self.frauds.append(is_fraud)

    def metrics(self, threshold: float) -> dict[str, float]:
        """What is defined of: roc_auc, average_precision, log_loss, brier, precision and recall at `threshold`,
        mean_score, fraud_rate. Without frauds there is no recall, without alerts no precision, and so on."""
        if not self.scores:
            return {}
        score = np.array(self.scores, dtype=np.float64)
        fraud = np.array(self.frauds, dtype=np.bool_)
        clipped = np.clip(score, SMALLEST, 1.0 - SMALLEST)
        frauds = int(fraud.sum())
        alerted = score >= threshold
        metrics = {
            "log_loss": float(-np.log(np.where(fraud, clipped, 1.0 - clipped)).mean()),
            "brier": float(((score - fraud) ** 2).mean()),
            "mean_score": float(score.mean()),
            "fraud_rate": frauds / len(score),
        }
        if frauds:
            metrics["recall"] = int((alerted & fraud).sum()) / frauds
            metrics["average_precision"] = average_precision(score, fraud)
        if alerted.any():
            metrics["precision"] = int((alerted & fraud).sum()) / int(alerted.sum())
        if 0 < frauds < len(score):
            metrics["roc_auc"] = roc_auc(score, fraud)
        return metrics


def log_loss(score: float, is_fraud: bool, smallest: float) -> float:
    """The log-loss of one example, the score kept `smallest` away from 0 and 1."""
    return -log(max(score if is_fraud else 1.0 - score, smallest))


def roc_auc(score: NDArray[np.float64], fraud: NDArray[np.bool_]) -> float:
    """The share of (fraud, legitimate) pairs in the right order; a tie counts half (Mann-Whitney U)."""
    frauds, rest = _at_each_score(score, fraud)
    frauds_above = np.cumsum(frauds) - frauds
    return float((rest * (frauds_above + frauds / 2)).sum() / (frauds.sum() * rest.sum()))


def average_precision(score: NDArray[np.float64], fraud: NDArray[np.bool_]) -> float:
    """The mean over the frauds of the precision at their score: the sum of (R_n - R_n-1) P_n, without interpolation."""
    frauds, rest = _at_each_score(score, fraud)
    precision = np.cumsum(frauds) / np.cumsum(frauds + rest)
    return float((precision * frauds).sum() / frauds.sum())


def _at_each_score(score: NDArray[np.float64], fraud: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many frauds and how many others have each distinct score, from the highest down."""
    distinct, place = np.unique(-score, return_inverse=True)
    frauds = np.bincount(place[fraud], minlength=len(distinct))
    rest = np.bincount(place[~fraud], minlength=len(distinct))
    return frauds.astype(np.int64), rest.astype(np.int64)
