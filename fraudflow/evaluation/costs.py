"""What decisions cost, and which threshold would have been the cheapest."""

from typing import Any, NamedTuple

import numpy as np

from fraudflow.evaluation.judged import ALLOW, BLOCK, REVIEW, Flags, Judged, Numbers

DEFAULT = "missed=amount,review=5,block=50"
POINTS = 400


class Costs(NamedTuple):
    """`missed`: of a fraud that was allowed (None: its amount); `review`: of each transaction that was reviewed;
    `block`: of a legitimate one that was blocked. In the currency of the amounts."""

    missed: float | None = None
    review: float = 5.0
    block: float = 50.0

    def of_missing(self, amounts: Numbers) -> Numbers:
        """What each of these frauds costs where it is missed."""
        return amounts if self.missed is None else np.full(len(amounts), self.missed)


def parse_costs(text: str) -> Costs:
    """`missed=amount,review=5,block=50`; what is left out keeps its default. Raises ValueError."""
    found: dict[str, float | None] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in Costs._fields or name in found:
            raise ValueError(f"costs: {part.strip()!r}: wanted missed, review and block once each, such as {DEFAULT!r}")
        if name == "missed" and value == "amount":
            found[name] = None
            continue
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise ValueError(
                f"costs: {name}={value!r}: wanted a number of 0 or more" + " or amount" * (name == "missed")
            )
        found[name] = number
    return Costs(**found)  # type: ignore[arg-type]  # only `missed` can be None


def cost_of_decisions(judged: Judged, costs: Costs) -> dict[str, Any]:
    """What the decisions on the labelled transactions cost, and what allowing everything would have."""
    verdict, fraud, known = judged.verdict, judged.fraud, judged.labelled
    missed = costs.of_missing(judged.amount[fraud & (verdict == ALLOW)])
    reviewed = int((known & (verdict == REVIEW)).sum())
    blocked = int((known & ~fraud & (verdict == BLOCK)).sum())
    parts = {
        "missed": float(missed.sum()),
        "review": costs.review * reviewed,
        "block": costs.block * blocked,
    }
    return {
        **parts,
        "total": sum(parts.values()),
        "without_any_decision": float(costs.of_missing(judged.amount[fraud]).sum()),
    }


class CostCurve(NamedTuple):
    """What it would have cost to stop exactly what scored `threshold` or more, for ascending thresholds; the last one
    lies above every score."""

    threshold: Numbers
    cost: Numbers
    above: Numbers
    frauds_above: Numbers

    @property
    def cheapest(self) -> int:
        """Where it is the least; of equals the highest threshold."""
        return int(len(self.cost) - 1 - np.argmin(self.cost[::-1]))

    def thin(self) -> "CostCurve":
        """At most so many points that a picture needs, the cheapest among them."""
        size = len(self.threshold)
        if size <= POINTS:
            return self
        evenly = np.searchsorted(self.threshold, np.linspace(0, 1, POINTS // 2))
        ranked = np.linspace(0, size - 1, POINTS // 2).astype(np.int64)
        kept = np.unique(np.concatenate((evenly.clip(0, size - 1), ranked, [self.cheapest])))
        return CostCurve(*(column[kept] for column in self))


def cost_curve(score: Numbers, fraud: Flags, amount: Numbers, costs: Costs, *, blocking: bool) -> CostCurve:
    """Over every threshold that makes a difference. `blocking`: what is stopped is blocked, else reviewed."""
    order = np.argsort(score, kind="stable")
    score, fraud, amount = score[order], fraud[order], amount[order]
    first = np.append(np.flatnonzero(np.diff(score, prepend=-1.0)), len(score))  # of each distinct score, and the end
    missing = np.where(fraud, costs.of_missing(amount), 0.0)
    missed = np.concatenate(([0.0], np.cumsum(missing)))[first]
    frauds_below = np.concatenate(([0], np.cumsum(fraud)))[first]
    above = len(score) - first
    frauds_above = int(fraud.sum()) - frauds_below
    stopped = costs.block * (above - frauds_above) if blocking else costs.review * above
    threshold = np.append(score[first[:-1]], np.nextafter(score[-1], 2.0) if len(score) else 1.0)
    return CostCurve(threshold, missed + stopped, above.astype(np.float64), frauds_above.astype(np.float64))


def cheapest(curve: CostCurve) -> dict[str, Any]:
    """The cheapest point of a curve."""
    at = curve.cheapest
    above, found, all_frauds = int(curve.above[at]), int(curve.frauds_above[at]), int(curve.frauds_above[0])
    return {
        "threshold": float(curve.threshold[at]),
        "cost": float(curve.cost[at]),
        "above": above,
        "precision": found / above if above else None,
        "recall": found / all_frauds if all_frauds else None,
    }
