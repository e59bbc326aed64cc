"""Prequential quality: each matured example judged by the score it had before its label was known."""

from array import array
from collections.abc import Iterable
from math import log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SMALLEST = 1e-15
"""Scores are kept this far from 0 and 1 for the log-loss, as River's metrics do."""


class Quality:
    """The metrics over the latest `window` examples, computed anew from them whenever they are asked for: exact, the
    same after a restart, 1 ms for 10,000. (River's rolling metrics add and subtract, and do not store their state.)"""

    def __init__(self, window: int, scores: Iterable[float] = (), frauds: Iterable[bool] = ()) -> None:
        self.window = window
        self._scores = array("d")
        self._frauds = array("b")
        self._next = 0  # where the next one goes: the oldest, once there are `window`
        for score, is_fraud in zip(scores, frauds, strict=True):
            self.add(score, is_fraud)

    def add(self, score: float, is_fraud: bool) -> None:
        """One matured example with the score it was decided on."""
        if len(self._scores) < self.window:
            self._scores.append(score)
            self._frauds.append(is_fraud)
            return
        self._scores[self._next] = score
        self._frauds[self._next] = is_fraud
        self._next = (self._next + 1) % self.window

    @property
    def scores(self) -> list[float]:
        """The scores, the oldest first."""
        return [*self._scores[self._next :], *self._scores[: self._next]]

    @property
    def frauds(self) -> list[bool]:
        """Whether each was fraud."""
        return [bool(fraud) for fraud in (*self._frauds[self._next :], *self._frauds[: self._next])]

    def metrics(self, review: float, block: float | None = None) -> dict[str, float]:
        """What is defined of: roc_auc, average_precision, log_loss, relative_log_loss (to that of always saying the
        fraud rate: from 1 on the model is worth nothing), brier, calibration_error (ten bins of equal width), precision
        and recall at the threshold `review`, precision_block and recall_block at `block`, mean_score, fraud_rate.
        Without frauds there is no recall, without alerts no precision, and so on."""
        if not self._scores:
            return {}
        # In the order in which they came, on which the last bit of a sum depends.
        score = np.roll(np.frombuffer(self._scores, dtype=np.float64), -self._next)
        fraud = np.roll(np.frombuffer(self._frauds, dtype=np.bool_), -self._next)
        clipped = np.clip(score, SMALLEST, 1.0 - SMALLEST)
        frauds = int(fraud.sum())
        metrics = {
            "log_loss": float(-np.log(np.where(fraud, clipped, 1.0 - clipped)).mean()),
            "brier": float(((score - fraud) ** 2).mean()),
            "calibration_error": _calibration_error(score, fraud),
            "mean_score": float(score.mean()),
            "fraud_rate": frauds / len(score),
        }
        for suffix, threshold in (("", review), *((("_block", block),) if block is not None else ())):
            alerted = score >= threshold
            caught = int((alerted & fraud).sum())
            if frauds:
                metrics[f"recall{suffix}"] = caught / frauds
            if alerted.any():
                metrics[f"precision{suffix}"] = caught / int(alerted.sum())
        if frauds:
            at_each = _at_each_score(score, fraud)
            metrics["average_precision"] = _average_precision(*at_each)
            if frauds < len(score):
                rate = frauds / len(score)
                metrics["roc_auc"] = _roc_auc(*at_each)
                metrics["relative_log_loss"] = metrics["log_loss"] / -(rate * log(rate) + (1 - rate) * log(1 - rate))
        return metrics


def log_loss(score: float, is_fraud: bool, smallest: float) -> float:
    """The log-loss of one example, the score kept `smallest` away from 0 and 1."""
    return -log(max(score if is_fraud else 1.0 - score, smallest))


def roc_auc(score: Floats, fraud: NDArray[np.bool_]) -> float:
    """The share of (fraud, legitimate) pairs in the right order; a tie counts half (Mann-Whitney U)."""
    return _roc_auc(*_at_each_score(score, fraud))


def average_precision(score: Floats, fraud: NDArray[np.bool_]) -> float:
    """The mean over the frauds of the precision at their score: the sum of (R_n - R_n-1) P_n, without interpolation."""
    return _average_precision(*_at_each_score(score, fraud))


def _roc_auc(frauds: Counts, rest: Counts) -> float:
    frauds_above = np.cumsum(frauds) - frauds
    return float((rest * (frauds_above + frauds / 2)).sum() / (frauds.sum() * rest.sum()))


def _average_precision(frauds: Counts, rest: Counts) -> float:
    precision = np.cumsum(frauds) / np.cumsum(frauds + rest)
    return float((precision * frauds).sum() / frauds.sum())


def _calibration_error(score: Floats, fraud: NDArray[np.bool_]) -> float:
    """Ten bins of equal width: how far mean score and fraud rate lie apart, weighted by size."""
    bins = np.minimum((score * 10).astype(np.int64), 9)
    apart = np.bincount(bins, weights=score - fraud, minlength=10)
    return float(np.abs(apart).sum() / len(score))


def _at_each_score(score: Floats, fraud: NDArray[np.bool_]) -> tuple[Counts, Counts]:
    """How many frauds and how many others have each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    score, fraud = score[order], fraud[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # of each distinct score
    frauds = np.diff(np.cumsum(fraud)[last], prepend=0)
    both = np.diff(last + 1, prepend=0)
    return frauds.astype(np.int64), (both - frauds).astype(np.int64)
