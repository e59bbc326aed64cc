"""What became known of each key's transactions, by the time at which it arrived: for `fraud_count` and `fraud_rate`."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from operators.features.names import LABELLED
from operators.features.plan import EntityPlan
from operators.transactions.records import Label

Key: TypeAlias = str | float

PRIOR: Final = 0.01
"""The rate of fraud that is assumed of a key without labels."""
PRIOR_WEIGHT: Final = 10
"""So many labels the prior counts for: the rate is (frauds + PRIOR * PRIOR_WEIGHT) / (labels + PRIOR_WEIGHT)."""
SLACK: Final = 4096
MANY: Final = 16


class Labelled(NamedTuple):
    """A label as the windows of an entity take it: with the key that its transaction had. Times in milliseconds.

    `fields` are the derived ones that were true of its transaction; None where that is not known.
    """

    key: Key | None
    is_fraud: bool
    arrives_at: int
    fields: frozenset[str] | None = None

    @classmethod
    def of(cls, label: Label, plan: EntityPlan) -> "Labelled":
        """As the label tells itself: for the entities whose keys it has, the user, the merchant, the receiver."""
        return cls(getattr(label, plan.field), label.is_fraud, label.arrives_at)


class LabelLog:
    """The labels of one key: when each arrived, and how many up to each were fraud; `dropped` are gone."""

    __slots__ = ("dropped", "frauds", "times")

    def __init__(self, times: Sequence[int] = (), frauds: Sequence[int] = (0,), dropped: int = 0) -> None:
        self.times = array("q", times)
        self.frauds = array("q", frauds)
        self.dropped = dropped

    def enter(self, label: Labelled) -> None:
        """In the order of their arrival; one with the same time goes behind."""
        i = bisect_right(self.times, label.arrives_at)
        self.times.insert(i, label.arrives_at)
        self.frauds.insert(i, self.frauds[i])
        if label.is_fraud:
            self.frauds[i + 1 :] = array("q", [count + 1 for count in self.frauds[i + 1 :]])

    def enter_all(self, labels: Sequence[Labelled]) -> None:
        """The same for many, in one pass over the log: labels that come newest first would move it for each of them."""
        before = [(at, high - low) for at, low, high in zip(self.times, self.frauds, self.frauds[1:], strict=False)]
        known = sorted([*before, *((label.arrives_at, int(label.is_fraud)) for label in labels)], key=itemgetter(0))
        self.times = array("q", [at for at, _ in known])
        self.frauds = array("q", accumulate((fraud for _, fraud in known), initial=self.frauds[0]))

    def drop(self, before: int) -> None:
        """The labels up to the index `before` go."""
        self.dropped += before
        del self.times[:before], self.frauds[:before]


NOTHING: Final = LabelLog()


class Labels:
    """Key -> labels. 16 bytes a label, and about 400 a key; kept for the longest window of labels and the lateness.

    They are all labels, or those whose transaction had a field.
    """

    def __init__(self, plan: EntityPlan, field: str | None) -> None:
        self.field = field
        self.told = field is None and plan.entity in LABELLED
        self.logs: dict[Key, LabelLog] = {}
        windows = [f.window for f in plan.features if f.of_labels and f.field == field and f.window]
        self.kept_time = plan.allowed_lateness
        self.kept_time += max((window.length for window in windows if window.kind == "trailing"), default=0)
        self._lateness = plan.allowed_lateness
        self._last = max((window.length for window in windows if window.kind == "last"), default=0)
        self._endless = any(window.kind == "ever" for window in windows)
        self._sweep_at = SLACK

    def takes(self, label: Labelled) -> bool:
        """Whether the label is one of these. A user's, merchant's and receiver's are taken as they came, once."""
        if self.told or label.fields is None:
            return self.told and label.fields is None
        return self.field is None or self.field in label.fields

    def enter(self, labels: Sequence[Labelled], newest: int) -> None:
        """`newest` is the latest event time: what no event from there on can ask for is dropped."""
        by_key: dict[Key, list[Labelled]] = {}
        for label in labels:
            if label.key is not None and self.takes(label):
                by_key.setdefault(label.key, []).append(label)
        for key, entered in by_key.items():
            log = self.logs.get(key)
            if log is None:
                log = self.logs[key] = LabelLog()
            before = len(log.times)
            if len(entered) < MANY:
                for label in entered:
                    log.enter(label)
            else:
                log.enter_all(entered)
            if len(log.times) // 16 > before // 16:
                self._trim(log, newest)
        if len(self.logs) >= self._sweep_at:
            for log in self.logs.values():
                self._trim(log, newest)
            if not self._endless:
                self.logs = {key: log for key, log in self.logs.items() if log.times}
            self._sweep_at = 2 * len(self.logs) + SLACK

    def within(self, key: Key, start: int, end: int) -> tuple[int, int]:
        """How many labels arrived from `start` on and before `end`, and how many of them were fraud."""
        log = self.logs.get(key, NOTHING)
        low, high = bisect_left(log.times, start), bisect_left(log.times, end)
        return high - low, log.frauds[high] - log.frauds[low]

    def last(self, key: Key, most: int, end: int) -> tuple[int, int]:
        """The same of the last labels that arrived before `end`, so many at most."""
        log = self.logs.get(key, NOTHING)
        high = bisect_left(log.times, end)
        low = max(high - most, 0)
        return high - low, log.frauds[high] - log.frauds[low]

    def ever(self, key: Key, end: int) -> tuple[int, int]:
        """The same of all labels that arrived before `end`."""
        log = self.logs.get(key, NOTHING)
        high = bisect_left(log.times, end)
        return log.dropped + high, log.frauds[high]

    def _trim(self, log: LabelLog, newest: int) -> None:
        gone = bisect_left(log.times, newest - self.kept_time)
        if self._last:
            gone = min(gone, bisect_left(log.times, newest - self._lateness) - self._last)
        if gone > 0:
            log.drop(gone)


def rate(labels: int, frauds: int) -> float:
    """The smoothed rate of fraud: the mean of the posterior of a beta prior (PRIOR, worth PRIOR_WEIGHT labels)."""
    return (frauds + PRIOR * PRIOR_WEIGHT) / (labels + PRIOR_WEIGHT)
