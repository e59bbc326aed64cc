"""Drift in each class apart: do frauds score lower than they did, or legitimate transactions higher?"""

from bisect import bisect_right
from math import exp, log
from typing import NamedTuple

import msgspec

EDGES = [1.0 / (1.0 + exp(-half / 2)) for half in range(-20, 21)]
"""Scores are told apart by half units of their logit, from -10 to 10."""
BINS = len(EDGES) + 1
RENEWED = 50
"""After so many examples of a class the ratios are worked out anew."""


LOWEST = 5.0
"""No threshold is below this: e^5, 150 to 1."""


class Alternative(NamedTuple):
    """What a change would look like: of the class, the share `part` that scores worst becomes the share `becomes`."""

    part: float
    becomes: float


class Kind(NamedTuple):
    """A class: whether a lower score is a worse one, how many examples there must be before others are compared with
    them, how many of the latest are the reference, by which factor the mean score must have moved to be worth telling,
    and the changes that are looked for."""

    name: str
    lower_is_worse: bool
    least: int
    remembered: int
    factor: float
    alternatives: tuple[Alternative, ...]


FRAUDS = Kind(
    "cusum:frauds",
    True,
    100,
    3_000,
    0.8,
    tuple(Alternative(*one) for one in ((0.1, 0.5), (0.25, 0.75), (0.4, 0.9), (0.6, 0.97))),
)
LEGITIMATE = Kind(
    "cusum:legitimate",
    False,
    5_000,
    50_000,
    2.0,
    tuple(Alternative(*one) for one in ((0.001, 0.01), (0.01, 0.06))),
)


class ClassState(msgspec.Struct, array_like=True):
    """What is known of a class: how often each bin was met (fading), how many examples; for each alternative its sum,
    and of how many examples that is made with which scores. `reference`: the counts that the ratios are made of."""

    counts: list[float]
    seen: int
    sums: list[float]
    moved: list[int]
    scores: list[float]
    mean: float = 0.0
    reference: list[float] = []


class ClassCusum:
    """CUSUMs of the log-likelihood ratio of a class's scores: of the distribution that its latest examples had, against
    one in which more of them score as the worst did. The highest sum counts, and how long ago it left 0.

    Because frauds are few, their share of a log-loss that all share is small: looked at apart, a dozen of them tell.

    Source: Page, Continuous inspection schemes, Biometrika 41, 1954; Lorden, Procedures for reacting to a change in
    distribution, Annals of Mathematical Statistics 42, 1971 (its delay is the least there can be).
    """

    def __init__(self, kind: Kind, state: ClassState | None = None) -> None:
        self.kind = kind
        self._state = state or self._new()
        self._ratios: list[list[float]] = []
        if self._state.reference:
            self._work_out()

    def _new(self) -> ClassState:
        alternatives = len(self.kind.alternatives)
        return ClassState([0.0] * BINS, 0, [0.0] * alternatives, [0] * alternatives, [0.0] * alternatives)

    def add(self, score: float) -> float:
        """The next example of the class; the highest sum, 0 where nothing can be said yet."""
        state = self._state
        place = bisect_right(EDGES, score)
        highest = 0.0
        if state.seen >= self.kind.least:
            if not state.reference or state.seen % RENEWED == 0:
                self._renew()
            for number, ratios in enumerate(self._ratios):
                grown = state.sums[number] + ratios[place]
                if grown > 0.0:
                    state.sums[number] = grown
                    state.moved[number] += 1
                    state.scores[number] += score
                    highest = max(highest, grown)
                else:
                    state.sums[number] = state.scores[number] = 0.0
                    state.moved[number] = 0
        state.mean += (score - state.mean) / min(state.seen + 1, self.kind.remembered)
        state.counts[place] += 1.0
        state.seen += 1
        return highest

    @property
    def seen(self) -> int:
        """How many examples of the class there were since it began."""
        return self._state.seen

    def moved(self) -> tuple[float, float, int]:
        """The mean score that the class had, the one since it moved, and over how many examples that is."""
        state = self._state
        number = max(range(len(state.sums)), key=state.sums.__getitem__)
        latest = state.moved[number]
        return state.mean, state.scores[number] / latest if latest else state.mean, latest

    def begin(self) -> None:
        """What comes now is the new reference."""
        self._state = self._new()
        self._ratios = []

    def state(self) -> ClassState:
        """For the snapshot."""
        return self._state

    def _renew(self) -> None:
        state = self._state
        total = sum(state.counts)
        if total > self.kind.remembered:
            faded = self.kind.remembered / total
            state.counts = [count * faded for count in state.counts]
        state.reference = list(state.counts)
        self._work_out()

    def _work_out(self) -> None:
        """The ratio of each bin under each alternative; a bin that lies across the border of a part belongs to it in
        proportion. Half an example more in all lets no bin be impossible."""
        reference = _blurred(self._state.reference)
        total = sum(reference)
        order = range(BINS) if self.kind.lower_is_worse else range(BINS - 1, -1, -1)
        self._ratios = [[0.0] * BINS for _ in self.kind.alternatives]
        below = 0.0
        for place in order:
            share = (reference[place] + 0.5 / BINS) / (total + 0.5)
            for ratios, (part, becomes) in zip(self._ratios, self.kind.alternatives, strict=True):
                inside = min(1.0, max(0.0, (part - below) / share))
                ratios[place] = log(inside * becomes / part + (1.0 - inside) * (1.0 - becomes) / (1.0 - part))
            below += share


def _blurred(counts: list[float]) -> list[float]:
    """Half of each bin's count spread over its neighbours: a model that learns moves its scores a little all the time,
    and what lies in the next bin today is no other thing."""
    around = [counts[0], *counts, counts[-1]]
    triples = zip(around, around[1:], around[2:], strict=False)
    return [0.25 * before + 0.5 * here + 0.25 * after for before, here, after in triples]


class ClassDriftState(msgspec.Struct, array_like=True, frozen=True):
    """Both classes."""

    frauds: ClassState
    legitimate: ClassState


class Moved(NamedTuple):
    """A class that drifts: which detector says so, by how much its sum is above the threshold, and what moved."""

    detector: str
    value: float
    message: str


class ClassDrift:
    """Both classes, each with a threshold so that on stationary scores there are about `false_alarms` in a million
    examples: log(10^6 · share of the class / false_alarms). After an alarm what follows is the new reference.
    """

    def __init__(self, false_alarms: float, state: ClassDriftState | None = None) -> None:
        self._false_alarms = false_alarms
        self._classes = {
            True: ClassCusum(FRAUDS, state.frauds if state else None),
            False: ClassCusum(LEGITIMATE, state.legitimate if state else None),
        }
        self._sums = dict.fromkeys((FRAUDS.name, LEGITIMATE.name), 0.0)
        if state:
            self._sums = {cusum.kind.name: max(cusum.state().sums) for cusum in self._classes.values()}

    def update(self, score: float, is_fraud: bool) -> Moved | None:
        """The next matured example, with the score it was decided on."""
        cusum = self._classes[is_fraud]
        value = self._sums[cusum.kind.name] = cusum.add(score)
        if value < LOWEST or value < self._threshold(cusum):
            return None
        before, after, latest = cusum.moved()
        if (after > before * cusum.kind.factor) == is_fraud:
            return None  # a model that learns moves its scores a little all the time, and nights differ from days
        what, direction = ("frauds", "lower") if is_fraud else ("legitimate transactions", "higher")
        message = f"{what} score {direction}: {after:.4f} on average over the latest {latest:,}, {before:.4f} before"
        for one in self._classes.values():
            one.begin()
        self._sums = dict.fromkeys(self._sums, 0.0)
        return Moved(cusum.kind.name, value, message)

    def statistics(self) -> dict[str, float]:
        """The highest sum of each class, by detector."""
        return dict(self._sums)

    def state(self) -> ClassDriftState:
        """For the snapshot."""
        return ClassDriftState(self._classes[True].state(), self._classes[False].state())

    def _threshold(self, cusum: ClassCusum) -> float:
        share = cusum.seen / sum(one.seen for one in self._classes.values())
        return max(LOWEST, log(1e6 * share / self._false_alarms))
