"""Two replays of one history: which decisions differ."""

from collections import Counter
from typing import Any

from fraudflow.evaluation.judged import Judged
from operators.decisions.decide import VERDICTS


def changes(judged: Judged, other: Judged) -> list[int]:
    """Where the decisions differ."""
    return [int(index) for index in (judged.verdict != other.verdict).nonzero()[0]]


def summary(judged: Judged, other: Judged) -> list[dict[str, Any]]:
    """For each change of decision: how many transactions, how many of them frauds, and their amount."""
    count: Counter[tuple[int, int]] = Counter()
    frauds: Counter[tuple[int, int]] = Counter()
    amount: dict[tuple[int, int], float] = {}
    for index in changes(judged, other):
        change = int(judged.verdict[index]), int(other.verdict[index])
        count[change] += 1
        frauds[change] += int(judged.label[index] == 1)
        amount[change] = amount.get(change, 0.0) + float(judged.amount[index])
    return [
        {
            "from": VERDICTS[change[0]],
            "to": VERDICTS[change[1]],
            "transactions": count[change],
            "frauds": frauds[change],
            "amount": round(amount[change], 2),
        }
        for change in sorted(count)
    ]
