"""Drift of what goes into a model and of what comes out: each feature's distribution, and the score's."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import NamedTuple

import msgspec

from operators.expressions import UnknownName, parse
from operators.features.names import parse_feature
from operators.model.encoding import Input, category_names
from operators.model.specification import FeatureSpec, Monitoring, Specification

SCORE = "score"
CLOCK = frozenset({"hour_of_day", "is_night", "is_weekend"})
"""What depends on these moves with the hours: that is no drift."""
PARTS = 10
LEAST = 500
"""A window in which fewer had a feature says nothing about it."""


class Shift(NamedTuple):
    """How far a window lies from the reference: `psi:<feature>` or `ks:<feature>`, and whether that is drift that was
    not there in the window before. `message` says what moved."""

    detector: str
    value: float
    drift: bool
    begins: bool
    message: str


class Reference(msgspec.Struct, array_like=True, frozen=True):
    """How often each category (of a number: each part between `edges`) was met in the reference window."""

    names: list[str]
    counts: list[int]
    edges: list[float] = []


class DistributionsState(msgspec.Struct, array_like=True, frozen=True):
    """Everything `Distributions` knows."""

    examples: int = 0
    began: int | None = None
    window_began: int = 0
    references: dict[str, Reference] = {}
    counts: dict[str, int] = {}
    values: dict[str, list[float]] = {}
    drifting: list[str] = []


class Distributions:
    """Compares each window of `monitor.window` matured examples with a reference: for each feature the first window in
    which at least `LEAST` had it, and which began when its own time window was full: `mean_amount_30d` moves for the
    first 30 days of event time by itself. The score waits for the longest of them.

    The population stability index is taken over the categories (bins, texts; of a number the reference's ten parts),
    the Kolmogorov-Smirnov distance over the same where they have an order. Only where the feature is there: that other
    formats come more often shows in `format`, and not in every feature of theirs. Flags and what depends on the hour of
    the day are left out.

    Memory: a count for each encoded name; until a number has its reference, its values in the window.

    References: Siddiqi, Credit risk scorecards, 2006 (PSI: below 0.1 stable, from 0.25 on a shift); Massey, The
    Kolmogorov-Smirnov test for goodness of fit, JASA 46, 1951.
    """

    def __init__(self, specification: Specification, state: DistributionsState | None = None) -> None:
        state = state or DistributionsState()
        self.settings: Monitoring = specification.monitor
        watched = [feature for feature in specification.features if not CLOCK & set(_names(feature))]
        self._categories = {feature.name: names for feature in watched if (names := _categories(feature))}
        self._ordered = {feature.name: len(feature.bins) + 1 for feature in watched if feature.bins}
        named = {"number", "log", "sqrt", "clip", "standardise"}
        self._numbers = [feature.name for feature in watched if feature.transform in named]
        self._warm_up = {
            feature.name: max(map(_span, _names(feature)), default=0) for feature in specification.features
        }
        self._warm_up[SCORE] = max(self._warm_up.values())
        self._examples = state.examples
        self._began = state.began
        self._window_began = state.window_began
        self._references = {
            name: reference
            for name, reference in state.references.items()
            if reference.edges or reference.names == self._categories.get(name)
        }
        self._counts = Counter(state.counts)
        self._values = {name: list(state.values.get(name, ())) for name in (SCORE, *self._numbers)}
        self._drifting = set(state.drifting)

    def add(self, x: Input, score: float | None, event_time: int) -> list[Shift]:
        """The next matured example; at the end of a window every distance that can be told."""
        if not self._examples:
            self._window_began = event_time
            if self._began is None:
                self._began = event_time
        counts = self._counts
        counts.update(x.keys())
        for name in self._numbers:
            if name in x:
                self._values[name].append(x[name])
        if score is not None:
            self._values[SCORE].append(score)
        self._examples += 1
        return self._end() if self._examples >= self.settings.window else []

    def state(self) -> DistributionsState:
        """Everything it knows."""
        return DistributionsState(
            self._examples,
            self._began,
            self._window_began,
            self._references,
            dict(self._counts),
            self._values,
            sorted(self._drifting),
        )

    def _end(self) -> list[Shift]:
        shifts: list[Shift] = []
        for name, categories in self._categories.items():
            counts = [self._counts.get(category, 0) for category in categories]
            shifts += self._compare(name, Reference(categories, counts), self._ordered.get(name, 0))
        for name, values in self._values.items():
            if len(values) >= LEAST:
                known = self._references.get(name)
                edges = known.edges if known else _parts(values)
                counts = [0] * (len(edges) + 1)
                for value in values:
                    counts[bisect_right(edges, value)] += 1
                names = [f"{name} part {number}" for number in range(1, len(counts) + 1)]
                shifts += self._compare(name, Reference(names, counts, edges), len(counts))
            values.clear()
        self._counts.clear()
        self._examples = 0
        return shifts

    def _compare(self, name: str, window: Reference, ordered: int) -> list[Shift]:
        """`ordered`: how many of the first categories have an order."""
        if sum(window.counts) < LEAST or len(window.counts) < 2:
            return []
        reference = self._references.get(name)
        if reference is None:
            if self._window_began - (self._began or 0) >= self._warm_up[name]:
                self._references[name] = window
            return []
        before, now = _shares(reference.counts), _shares(window.counts)
        index, moved = psi(before, now)
        what = f"{window.names[moved]}: {before[moved]:.1%} of the reference, {now[moved]:.1%} now"
        shifts = [self._shift(f"psi:{name}", index, self.settings.psi, what)]
        if ordered:
            distance, at = ks(reference.counts[:ordered], window.counts[:ordered])
            what = f"the share up to {window.names[at]} moved by {distance:.1%}"
            shifts.append(self._shift(f"ks:{name}", distance, self.settings.ks, what))
        return shifts

    def _shift(self, detector: str, value: float, most: float, what: str) -> Shift:
        drift, begins = value >= most, value >= most and detector not in self._drifting
        (self._drifting.add if drift else self._drifting.discard)(detector)
        return Shift(detector, value, drift, begins, what)


def psi(before: Sequence[float], now: Sequence[float]) -> tuple[float, int]:
    """The population stability index of two distributions, and the category that adds the most to it."""
    parts = [(b - a) * log(b / a) for a, b in zip(before, now, strict=True)]
    return sum(parts), max(range(len(parts)), key=parts.__getitem__)


def ks(before: Sequence[int], now: Sequence[int]) -> tuple[float, int]:
    """The greatest distance of two cumulative distributions, and after which category it is."""
    all_before, all_now = sum(before), sum(now)
    if not all_before or not all_now:
        return 0.0, 0
    distance, at, up_to_before, up_to_now = 0.0, 0, 0, 0
    for category, (a, b) in enumerate(zip(before, now, strict=True)):
        up_to_before += a
        up_to_now += b
        apart = abs(up_to_before / all_before - up_to_now / all_now)
        if apart > distance:
            distance, at = apart, category
    return distance, at


def _shares(counts: Sequence[int]) -> list[float]:
    """With half an example more in each category, so that an empty one does not make the index infinite."""
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]


def _parts(values: Sequence[float]) -> list[float]:
    """The edges between ten parts of equal size, fewer where values are equal."""
    ranked = sorted(values)
    return sorted({ranked[len(ranked) * part // PARTS] for part in range(1, PARTS)})


def _names(feature: FeatureSpec) -> tuple[str, ...]:
    return parse(feature.value).names if feature.value else ()


def _span(name: str) -> int:
    """How long the time window of a name is, in milliseconds; 0 where it has none."""
    try:
        window = parse_feature(name).window
    except UnknownName:
        return 0
    return window.length if window and window.kind in {"trailing", "tumbling"} else 0


def _categories(feature: FeatureSpec) -> list[str]:
    """The encoded names of which a feature has one. Buckets of hashed texts mean nothing, crosses repeat others."""
    return category_names(feature) if feature.transform in ("bins", "onehot") else []
