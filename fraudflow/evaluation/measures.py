"""How good the decisions on a labelled history were."""

from typing import Any, NamedTuple

import numpy as np

from fraudflow.evaluation.costs import Costs, cheapest, cost_curve, cost_of_decisions
from fraudflow.evaluation.judged import ALLOW, Flags, Judged, Numbers
from operators.decisions.decide import VERDICTS, Thresholds
from operators.model.quality import SMALLEST, average_precision, roc_auc

DAY = 86_400_000
PRECISION = 0.5
"""How precise alerts must at least be, where the recall at a precision is told."""
BINS = 10


class Bin(NamedTuple):
    """The scores in one of `BINS` bins of equal width: how many, their mean, and the share of frauds."""

    size: int
    mean_score: float
    fraud_rate: float


def measure(judged: Judged, thresholds: Thresholds, capacity: int, costs: Costs) -> dict[str, Any]:
    """Metrics over the labelled ones of `judged`: of the score (where there was one), of the decisions, of each rule.

    What has no meaning (a precision without alerts, an AUC without frauds) is null.
    """
    labelled, frauds = judged.labelled, int(judged.fraud.sum())
    fired: dict[str, list[int]] = {}
    for index in (number for number, rules in enumerate(judged.rules) if rules):
        for rule in judged.rules[index]:
            fired.setdefault(rule, []).append(index)
    return {
        "transactions": len(judged),
        "labelled": int(labelled.sum()),
        "frauds": frauds,
        "fraud_rate": _share(frauds, int(labelled.sum())),
        "score": measure_score(judged, thresholds),
        "at_capacity": at_capacity(judged, capacity),
        "decisions": {
            **{name: int((judged.verdict == code).sum()) for code, name in enumerate(VERDICTS)},
            **_hits(judged, np.flatnonzero(judged.verdict != ALLOW), frauds),
        },
        "rules": {rule: _hits(judged, np.array(hits), frauds) for rule, hits in sorted(fired.items())},
        "costs": _costs(judged, costs),
    }


def _costs(judged: Judged, costs: Costs) -> dict[str, Any]:
    scored = judged.scored
    columns = judged.score[scored], judged.fraud[scored], judged.amount[scored]
    by_score = {
        f"cheapest_{name}": cheapest(cost_curve(*columns, costs, blocking=name == "block"))
        for name in ("review", "block")
        if len(columns[0])
    }
    each = {"missed": "amount" if costs.missed is None else costs.missed, "review": costs.review, "block": costs.block}
    return {"each": each, "decisions": cost_of_decisions(judged, costs), **by_score}


def _hits(judged: Judged, hits: Any, frauds: int) -> dict[str, Any]:
    hits = hits[judged.labelled[hits]]
    found = int(judged.fraud[hits].sum())
    return {"hits": len(hits), "frauds": found, "precision": _share(found, len(hits)), "recall": _share(found, frauds)}


def measure_score(judged: Judged, thresholds: Thresholds) -> dict[str, Any]:
    """Metrics of the score alone, over the labelled ones that had one. What has no meaning is null."""
    scored = judged.scored
    score, fraud = judged.score[scored], judged.fraud[scored]
    frauds, both = int(fraud.sum()), bool(fraud.any()) and not bool(fraud.all())
    clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
    some = bool(len(score))
    return {
        "scored": len(score),
        "frauds": frauds,
        "roc_auc": roc_auc(score, fraud) if both else None,
        "average_precision": average_precision(score, fraud) if both else None,
        "log_loss": float(-np.log(np.where(fraud, clipped, 1 - clipped)).mean()) if some else None,
        "brier": float(((score - fraud) ** 2).mean()) if some else None,
        "expected_calibration_error": calibration_error(calibration(score, fraud)) if some else None,
        "mean_score": float(score.mean()) if some else None,
        "fraud_rate": _share(frauds, len(score)),
        "at_precision": at_precision(score, fraud, PRECISION),
        "at_review_threshold": _at(thresholds.review, score, fraud),
        "at_block_threshold": _at(thresholds.block, score, fraud),
    }


def _at(threshold: float, score: Numbers, fraud: Flags) -> dict[str, Any]:
    above = score >= threshold
    found = int((above & fraud).sum())
    return {
        "threshold": threshold,
        "above": int(above.sum()),
        "precision": _share(found, int(above.sum())),
        "recall": _share(found, int(fraud.sum())),
    }


def at_precision(score: Numbers, fraud: Flags, precision: float) -> dict[str, Any] | None:
    """The most frauds that any threshold finds while at least the share `precision` of what it finds are frauds; in
    hindsight. None where no threshold is as precise."""
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(fraud[order])
    ranked = score[order]
    last = np.append(ranked[1:] != ranked[:-1], True) if len(ranked) else np.array([], dtype=np.bool_)
    enough = np.flatnonzero(last & (found >= precision * np.arange(1, len(found) + 1)) & (found > 0))
    if not len(enough):
        return None
    at = int(enough[-1])
    shares = {"precision": _share(int(found[at]), at + 1), "recall": _share(int(found[at]), int(fraud.sum()))}
    return {"at_least": precision, "threshold": float(ranked[at]), **shares}


def calibration(score: Numbers, fraud: Flags) -> list[Bin]:
    """The bins that hold any score, in ascending order; a score of 1 belongs to the last."""
    place = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    total, frauds = np.bincount(place, score, BINS), np.bincount(place, fraud, BINS)
    return [Bin(int(count[i]), float(total[i] / count[i]), float(frauds[i] / count[i])) for i in np.flatnonzero(count)]


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: how far mean score and fraud rate lie apart, the mean over all scores.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    return sum(one.size * abs(one.mean_score - one.fraud_rate) for one in bins) / sum(one.size for one in bins)


def at_capacity(judged: Judged, capacity: int) -> dict[str, Any]:
    """Card precision: of the `capacity` users with the highest score of a day (UTC), the share who had a fraud on it,
    the mean over the days. Who was found is no longer looked at on the days after.

    Source: Le Borgne et al., Reproducible machine learning for credit card fraud detection, 2022, section 4.4.
    """
    place = {user: number for number, user in enumerate(sorted(set(judged.users)))}
    scored = judged.scored
    user = np.fromiter(map(place.__getitem__, judged.users), np.int64, len(judged))[scored]
    day = judged.time[scored] // DAY
    order = np.lexsort((user, day))
    user, day, score, fraud = user[order], day[order], judged.score[scored][order], judged.fraud[scored][order]
    first = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(day, prepend=-1) != 0))  # of a card's day
    user, day = user[first], day[first]
    highest = np.maximum.reduceat(score, first) if len(first) else score
    was_fraud = np.logical_or.reduceat(fraud, first) if len(first) else fraud
    known = np.zeros(len(place), dtype=np.bool_)
    precisions = []
    compromised = found = 0
    for cards in np.split(np.arange(len(day)), np.flatnonzero(np.diff(day)) + 1) if len(day) else ():
        new = cards[~known[user[cards]]]
        looked_at = new[np.lexsort((user[new], -highest[new]))[:capacity]]
        caught = user[looked_at[was_fraud[looked_at]]]
        compromised += int(was_fraud[new].sum())
        found += len(caught)
        known[caught] = True
        precisions.append(len(caught) / capacity)
    return {
        "cards_a_day": capacity,
        "days": len(precisions),
        "card_precision": float(np.mean(precisions)) if precisions else None,
        "card_recall": _share(found, compromised),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
