"""How good the decisions on a labelled history were."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fraudflow.evaluation.replay import Judged
from operators.decisions.decide import Thresholds
from operators.model.quality import SMALLEST, average_precision, roc_auc


def measure(judged: Sequence[Judged], thresholds: Thresholds) -> dict[str, Any]:
    """Metrics over the labelled ones of `judged`: of the score (where there was one), of the decisions, of each rule.

    What has no meaning (a precision without alerts, an AUC without frauds) is null.
    """
    labelled = [one for one in judged if one.is_fraud is not None]
    frauds = sum(bool(one.is_fraud) for one in labelled)
    fired = {rule for one in judged for rule in one.rules}
    alerted = [one for one in labelled if one.verdict != "allow"]
    return {
        "transactions": len(judged),
        "labelled": len(labelled),
        "frauds": frauds,
        "fraud_rate": _share(frauds, len(labelled)),
        "score": _score([one for one in labelled if one.score is not None], thresholds),
        "decisions": {
            **{verdict: sum(one.verdict == verdict for one in judged) for verdict in ("allow", "review", "block")},
            **_hits(alerted, frauds),
        },
        "rules": {rule: _hits([one for one in labelled if rule in one.rules], frauds) for rule in sorted(fired)},
    }


def _hits(hits: Sequence[Judged], frauds: int) -> dict[str, Any]:
    found = sum(bool(one.is_fraud) for one in hits)
    return {"hits": len(hits), "frauds": found, "precision": _share(found, len(hits)), "recall": _share(found, frauds)}


def _score(scored: Sequence[Judged], thresholds: Thresholds) -> dict[str, Any]:
    score = np.array([one.score for one in scored], dtype=np.float64)
    fraud = np.array([one.is_fraud for one in scored], dtype=np.bool_)
    frauds, both = int(fraud.sum()), bool(fraud.any()) and not bool(fraud.all())
    clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
    return {
        "scored": len(scored),
        "frauds": frauds,
        "roc_auc": roc_auc(score, fraud) if both else None,
        "average_precision": average_precision(score, fraud) if both else None,
        "log_loss": float(-np.log(np.where(fraud, clipped, 1 - clipped)).mean()) if scored else None,
        "brier": float(((score - fraud) ** 2).mean()) if scored else None,
        "mean_score": float(score.mean()) if scored else None,
        "at_review_threshold": _at(thresholds.review, score, fraud),
        "at_block_threshold": _at(thresholds.block, score, fraud),
    }


def _at(threshold: float, score: Any, fraud: Any) -> dict[str, Any]:
    above = score >= threshold
    found = int((above & fraud).sum())
    return {
        "threshold": threshold,
        "above": int(above.sum()),
        "precision": _share(found, int(above.sum())),
        "recall": _share(found, int(fraud.sum())),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
