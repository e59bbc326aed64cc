"""What passes through, second by second, in two stages: partial sums where decisions are made, then one global window.

It runs on the broker's timestamps: what arrived, not what happened when.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from operators.decisions.decide import DecidedBatch
from operators.decisions.state import unpacked
from operators.measurements import Point
from operators.transactions.records import DeadLetter, Transaction

VERSION = 1
WINDOW = 30  # seconds
KEPT = 3600  # seconds behind the newest one for which partial sums are still merged
EXACT = 128  # milliseconds of latency up to which a bucket is one millisecond wide
PER_OCTAVE = 16  # buckets for each doubling above: 4.4 % wide
UNITS = 10_000  # amounts are summed as whole ten-thousandths, so that the order of events does not matter
NANOSECONDS = 1_000_000_000

K = TypeVar("K", str, int)


class Second(msgspec.Struct, array_like=True):
    """The sums of one second of broker time: amounts in ten-thousandths, `lag` in ms from event to arrival."""

    count: int = 0
    frauds: int = 0
    amount: int = 0
    fraud_amount: int = 0
    late: int = 0
    lag: int = 0
    hits: dict[str, int] = {}
    latency: dict[int, int] = {}
    rejected: dict[str, int] = {}
    repeated: int = 0

    def add(self, other: "Second") -> None:
        self.count += other.count
        self.frauds += other.frauds
        self.amount += other.amount
        self.fraud_amount += other.fraud_amount
        self.late += other.late
        self.repeated += other.repeated
        self.lag += other.lag
        _merge(self.hits, other.hits)
        _merge(self.latency, other.latency)
        _merge(self.rejected, other.rejected)


def _merge(mine: dict[K, int], its: dict[K, int]) -> None:
    for key, count in its.items():
        mine[key] = mine.get(key, 0) + count


Partial = dict[int, Second]
"""Sums by second since the epoch."""


def bucket(milliseconds: int) -> int:
    """The bucket of a latency: itself up to 128 ms, then sixteen for each doubling."""
    if milliseconds < EXACT:
        return max(0, milliseconds)
    return EXACT + int(math.log2(milliseconds / EXACT) * PER_OCTAVE)


def latency_of(index: int) -> float:
    """The upper end of a bucket, in milliseconds."""
    return float(index) if index < EXACT else EXACT * 2.0 ** ((index - EXACT + 1) / PER_OCTAVE)


def partial_of(decided: DecidedBatch) -> Partial:
    """The sums of one batch of decisions."""
    seconds: Partial = {}
    for second, transactions in _by_second(decided.transactions).items():
        arrived = [transaction.arrived_at for transaction in transactions]
        latency: dict[int, int] = {}
        for at, count in Counter(arrived).items():  # a batch has few different ones
            index = bucket(decided.decided_at - at)
            latency[index] = latency.get(index, 0) + count
        seconds[second] = Second(
            count=len(transactions),
            amount=sum([round(transaction.amount * UNITS) for transaction in transactions]),
            lag=sum(arrived) - sum([transaction.event_time for transaction in transactions]),
            latency=latency,
        )
    for decision in decided.suspicious:
        current = seconds[decision.transaction.arrived_at // 1000]
        current.frauds += 1
        current.fraud_amount += round(decision.transaction.amount * UNITS)
    if seconds:
        newest = seconds[max(seconds)]
        newest.late += decided.late
        newest.repeated += decided.repeated
        for (rule, severity), count in decided.hits.items():
            newest.hits[f"{rule}\t{severity}"] = newest.hits.get(f"{rule}\t{severity}", 0) + count
    return seconds


def _by_second(transactions: Sequence[Transaction]) -> dict[int, Sequence[Transaction]]:
    """By the second of their arrival: mostly one, as a batch is what a poll returned."""
    arrived = [transaction.arrived_at for transaction in transactions]
    if not arrived:
        return {}
    if min(arrived) // 1000 == max(arrived) // 1000:
        return {arrived[0] // 1000: transactions}
    seconds: dict[int, list[Transaction]] = {}
    for transaction in transactions:
        seconds.setdefault(transaction.arrived_at // 1000, []).append(transaction)
    return {**seconds}


def partial_of_dead_letters(letters: Sequence[DeadLetter]) -> Partial:
    """The sums of dead letters by reason."""
    seconds: Partial = {}
    for letter in letters:
        rejected = seconds.setdefault(letter.arrived_at // 1000, Second()).rejected
        rejected[letter.reason] = rejected.get(letter.reason, 0) + 1
    return seconds


class LiveStatistics:
    """The last 30 seconds, refreshed every second.

    Partial sums may come in any order up to an hour behind the newest; a point whose second or window changed is sent
    again, with the same identity and the fuller figures. Memory: one `Second` for each of the last 3,600.
    """

    def __init__(self, snapshot: bytes | None = None) -> None:
        self.seconds: Partial = {}
        self.changed: set[int] = set()
        self.newest = 0  # the newest second when points were last asked for
        self.shown = 0  # the last window that was given then
        if snapshot is not None:
            _, self.seconds, self.changed, self.newest, self.shown = unpacked(
                "live statistics", VERSION, snapshot, tuple[int, dict[int, Second], set[int], int, int]
            )

    def add(self, partials: Iterable[Partial]) -> None:
        """Merge partial sums."""
        for partial in partials:
            for second, sums in partial.items():
                if second in self.seconds:
                    self.seconds[second].add(sums)
                else:
                    self.seconds[second] = sums
                self.changed.add(second)
        oldest = max(self.seconds, default=0) - KEPT
        for second in [second for second in self.seconds if second <= oldest]:
            del self.seconds[second]
            self.changed.discard(second)

    @property
    def settled(self) -> bool:
        """Nothing more to tell until something arrives: the last window given was empty."""
        return not self.changed and self.shown >= self.newest + WINDOW

    def points(self, until: int = 0) -> list[Point]:
        """The points that changed since the last call: of each second, and of each window up to the second `until` (the
        wall clock), so that the figures fall when nothing arrives any more."""
        if not self.seconds:
            return []
        newest = max(self.seconds)
        last = max(newest, min(until, newest + WINDOW))
        windows = {second + ahead for second in self.changed for ahead in range(WINDOW + 1)}
        if self.newest:
            windows.update(range(self.shown + 1, self.newest + WINDOW + 1))
        points = [point for second in sorted(self.changed) for point in _second_points(second, self.seconds[second])]
        points += [self._window_point(window) for window in sorted(windows) if window <= last]
        self.changed.clear()
        self.newest, self.shown = newest, last
        return points

    def _window_point(self, second: int) -> Point:
        sums = [self.seconds[s] for s in range(second - WINDOW + 1, second + 1) if s in self.seconds]
        amount = sum(s.amount for s in sums)
        fraud_amount = sum(s.fraud_amount for s in sums)
        fields = {
            "count": sum(s.count for s in sums),
            "frauds": sum(s.frauds for s in sums),
            "amount": amount / UNITS,
            "fraud_amount": fraud_amount / UNITS,
            "fraud_share": fraud_amount / amount if amount else 0.0,
        }
        return Point("live_stats", {}, fields, second * NANOSECONDS)

    def snapshot(self) -> bytes:
        """Own format, versioned."""
        return msgspec.msgpack.encode((VERSION, self.seconds, self.changed, self.newest, self.shown))


def _second_points(second: int, sums: Second) -> list[Point]:
    time_ns = second * NANOSECONDS
    fields: dict[str, float | int | str | bool] = {
        "transactions": sums.count,
        "alerts": sums.frauds,
        "dead_letters": sum(sums.rejected.values()),
        "late": sums.late,
        "repeated": sums.repeated,
    }
    if sums.count:
        fields["event_lag_s"] = sums.lag / sums.count / 1000
        fields["latency_p50_ms"] = quantile(sums.latency, 0.5)
        fields["latency_p99_ms"] = quantile(sums.latency, 0.99)
        fields["latency_max_ms"] = quantile(sums.latency, 1.0)
    points = [Point("pipeline", {}, fields, time_ns)]
    points += [
        Point("pipeline", {"reason": reason}, {"rejected": count}, time_ns)
        for reason, count in sorted(sums.rejected.items())
    ]
    for key, count in sorted(sums.hits.items()):
        rule, severity = key.split("\t")
        points.append(Point("rule_hits", {"rule": rule, "severity": severity}, {"hits": count}, time_ns))
    return points


def quantile(histogram: dict[int, int], share: float) -> float:
    """The latency in milliseconds below which `share` of the events lie, to the width of its bucket."""
    wanted = share * sum(histogram.values())
    seen = 0
    for index in sorted(histogram):
        seen += histogram[index]
        if seen >= wanted:
            return latency_of(index)
    return 0.0
