"""What a trial says of its rules: found, bothered, overlapping, and what another rule set would decide otherwise."""

from typing import Any

import numpy as np

from fraudflow.rules.trial import ALLOW, Array, History, Trial
from operators.decisions.decide import VERDICTS
from operators.times import iso

MOST_CHANGED = 1_000
"""Changed decisions that are named one by one."""

Found = dict[str, Any]


def findings(history: History, trials: list[Trial], names: list[str]) -> Found:
    """Everything, as JSON holds it. The second trial, where there is one, is what the first is compared with."""
    labelled = history.fraud >= 0
    frauds = history.fraud == 1
    found: Found = {
        "transactions": len(history.ids),
        "from": iso(int(history.times[0])),
        "to": iso(int(history.times[-1])),
        "days": round(history.days, 3),
        "amount": _sum(history.amounts),
        "labelled": int(labelled.sum()),
        "frauds": int(frauds.sum()),
        "fraud_amount": _sum(history.amounts[frauds]),
        "rules": _of_trial(history, trials[0], names[0]),
        "against": _of_trial(history, trials[1], names[1]) if len(trials) > 1 else None,
    }
    if len(trials) > 1:
        found["changes"], found["changed"] = _changes(history, trials[0], trials[1])
    return found


def _of_trial(history: History, trial: Trial, name: str) -> Found:
    hit_by = np.zeros(len(history.ids), dtype=np.int32)
    for rows in trial.rows:
        hit_by[rows] += 1
    alerted = np.flatnonzero(trial.verdicts != ALLOW)
    days, counts = np.unique(history.times[trial.alerts] // 86_400_000, return_counts=True)
    return {
        "file": name,
        "decisions": {
            **{verdict: int((trial.verdicts == code).sum()) for code, verdict in enumerate(VERDICTS)},
            **_measures(history, alerted),
        },
        "alerts": len(trial.alerts),
        "alerts_a_day": round(len(trial.alerts) / history.days, 2),
        "alerts_by_day": {iso(int(day) * 86_400_000)[:10]: int(count) for day, count in zip(days, counts, strict=True)},
        "by_rule": [
            {
                "id": rule.id,
                "version": rule.version,
                "mode": rule.mode,
                "severity": rule.severity,
                "decision": rule.decision,
                **_measures(history, rows),
                "hits_a_day": round(len(rows) / history.days, 2),
                "alone": int((hit_by[rows] == 1).sum()),
                "frauds_alone": int(((hit_by[rows] == 1) & (history.fraud[rows] == 1)).sum()),
                "full_from": iso(full_from) if full_from > history.times[0] else None,
                "hits_warming_up": int((history.times[rows] < full_from).sum()),
            }
            for rule, rows, full_from in zip(trial.rules.rules, trial.rows, trial.full_from, strict=True)
        ],
        "overlap": _overlap(trial),
    }


def _measures(history: History, rows: Array) -> Found:
    """Over the labelled of these rows; what has no meaning is null."""
    fraud, amounts = history.fraud[rows], history.amounts[rows]
    frauds, labelled = int((fraud == 1).sum()), int((fraud >= 0).sum())
    all_frauds = history.fraud == 1
    return {
        "hits": len(rows),
        "frauds": frauds,
        "precision": frauds / labelled if labelled else None,
        "recall": frauds / int(all_frauds.sum()) if all_frauds.any() else None,
        "caught": _sum(amounts[fraud == 1]),
        "caught_share": _share(_sum(amounts[fraud == 1]), _sum(history.amounts[all_frauds])),
        "bothered": _sum(amounts[fraud == 0]),
    }


def _overlap(trial: Trial) -> dict[str, dict[str, int]]:
    """How many rows each pair of rules has in common."""
    found: dict[str, dict[str, int]] = {}
    for rule, rows in zip(trial.rules.rules, trial.rows, strict=True):
        others = zip(trial.rules.rules, trial.rows, strict=True)
        found[rule.id] = {
            other.id: len(np.intersect1d(rows, other_rows, assume_unique=True)) for other, other_rows in others
        }
    return found


def _changes(history: History, trial: Trial, against: Trial) -> tuple[list[Found], list[Found]]:
    """From the decisions of `against` to those of `trial`: how many of each kind, and the first of them by name."""
    kinds = []
    for before, old in enumerate(VERDICTS):
        for after, new in enumerate(VERDICTS):
            rows = np.flatnonzero((against.verdicts == before) & (trial.verdicts == after))
            if before != after and len(rows):
                measured = _measures(history, rows)
                kinds.append(
                    {
                        "from": old,
                        "to": new,
                        "transactions": len(rows),
                        "frauds": measured["frauds"],
                        "fraud_amount": measured["caught"],
                        "legitimate_amount": measured["bothered"],
                    }
                )
    changed = np.flatnonzero(trial.verdicts != against.verdicts)[:MOST_CHANGED]
    fraud = {1: True, 0: False}
    named = [
        {
            "transaction_id": history.ids[row],
            "event_time": iso(int(history.times[row])),
            "amount": float(history.amounts[row]),
            "from": VERDICTS[against.verdicts[row]],
            "to": VERDICTS[trial.verdicts[row]],
            "is_fraud": fraud.get(int(history.fraud[row])),
        }
        for row in changed
    ]
    return kinds, named


def _sum(amounts: Array) -> float:
    return round(float(amounts.sum()), 2)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
