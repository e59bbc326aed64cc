"""What the windows should say, in the slowest and plainest way: every event is kept, every value is searched anew.

It follows docs/windows.md and shares nothing with the engine but the names' grammar.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from operators.features.labels import Labelled
from operators.features.names import AMOUNTS, Feature
from operators.transactions.records import Transaction


class Oracle:
    """All events of an entity, in the order in which they came."""

    def __init__(self, features: Sequence[Feature], allowed_lateness: int, key_field: str = "user_id") -> None:
        self.features = features
        self.key_field = features[0].key_field if features else key_field
        self.allowed_lateness = allowed_lateness
        self.events: dict[Any, list[Transaction]] = {}
        self.labels: dict[Any, list[Labelled]] = {}

    def add(self, event: Transaction) -> tuple[dict[str, Any], bool]:
        """The values of every feature for the event, and whether it was too late for them to be promised."""
        key = getattr(event, self.key_field)
        if key is None:
            return {feature.name: None for feature in self.features}, False
        earlier = self.events.setdefault(key, [])
        late = bool(earlier) and event.event_time < max(e.event_time for e in earlier) - self.allowed_lateness
        earlier.append(event)
        return self.values_at(event, earlier), late

    def repeat_of(self, event: Transaction) -> Transaction | None:
        """The event that this one repeats: the same id, amount and key, within the lateness; the first by time."""
        earlier = self.events.get(getattr(event, self.key_field), [])
        same = [e for e in earlier if (e.transaction_id, e.amount) == (event.transaction_id, event.amount)]
        near = [e for e in same if abs(e.event_time - event.event_time) <= self.allowed_lateness]
        return min(near, key=lambda e: e.event_time, default=None)

    def values_at(self, event: Transaction, events: Sequence[Transaction]) -> dict[str, Any]:
        """The values of every feature at one of the events of its key, as of now."""
        # Sorted by time; the sort is stable, so events with one time keep the order in which they came.
        by_time = sorted(events, key=lambda e: e.event_time)
        past = by_time[: next(i for i, e in enumerate(by_time, 1) if e is event)]
        labels = self.labels.get(getattr(event, self.key_field), [])
        return {
            feature.name: label_value(feature, event.event_time, labels)
            if feature.of_labels
            else value_of(feature, event, past)
            for feature in self.features
        }

    def label(self, label: Labelled) -> None:
        """What became known of a transaction."""
        self.labels.setdefault(label.key, []).append(label)


def label_value(feature: Feature, now: int, labels: Sequence[Labelled]) -> Any:
    """Of the labels that arrived before `now`."""
    assert feature.window is not None
    arrived = sorted((label for label in labels if label.arrives_at < now), key=lambda label: label.arrives_at)
    if feature.window.kind == "trailing":
        arrived = [label for label in arrived if label.arrives_at >= now - feature.window.length]
    elif feature.window.kind == "last":
        arrived = arrived[-feature.window.length :]
    frauds = sum(label.is_fraud for label in arrived)
    return frauds if feature.aggregate == "fraud_count" else (frauds + 0.01 * 10) / (len(arrived) + 10)


def value_in(event: Transaction, field: str) -> Any:
    """A text, or an amount to 1/10000."""
    value = getattr(event, field)
    return in_units(value) if field in AMOUNTS and value is not None else value


def in_units(value: float) -> Fraction:
    """As it is kept."""
    return Fraction(round(value * 10_000), 10_000)


def value_of(
    feature: Feature,
    event: Transaction,
    past: list[Transaction],
    value_in: Callable[[Transaction, str], Any] = value_in,
) -> Any:
    """The value of a feature at `event`, the last of `past`; `value_in` tells an event's field."""
    now = event.event_time
    before = past[:-1]
    if feature.aggregate == "seconds_since_last":
        return (now - before[-1].event_time) / 1000 if before else None
    if feature.aggregate == "speed_kmh":
        return speed(event, before)
    window = feature.window
    assert window is not None
    events = before if feature.before else past
    if window.kind == "trailing":
        events = [e for e in events if now - window.length < e.event_time <= now]
    elif window.kind == "tumbling":
        events = [e for e in events if e.event_time // window.length == now // window.length]
    elif window.kind == "last":
        events = events[-window.length :]
    if feature.aggregate == "count":
        return len(events)
    assert feature.field is not None
    values = [value for e in events if (value := value_in(e, feature.field)) is not None]
    match feature.aggregate:
        case "sum":
            return float(sum(values))
        case "mean":
            return float(sum(values) / len(values)) if values else None
        case "std":
            if len(values) < 2:
                return None
            mean = sum(values) / len(values)
            return math.sqrt(float(sum((value - mean) ** 2 for value in values) / (len(values) - 1)))
        case "min":
            return float(min(values)) if values else None
        case "max":
            return float(max(values)) if values else None
        case "distinct":
            return len(set(values))
        case "last":
            return (float(values[-1]) if isinstance(values[-1], Fraction) else values[-1]) if values else None
        case "is_new":
            own = value_in(event, feature.field)
            return None if own is None else own not in values
    raise AssertionError(feature.aggregate)


def speed(event: Transaction, before: list[Transaction]) -> float | None:
    """Between this and the last located event, km/h; by the chord through the sphere, on degrees to six decimals."""
    located = [e for e in before if e.latitude is not None and e.longitude is not None]
    if event.latitude is None or event.longitude is None or not located:
        return None
    chord = math.dist(_on_unit_sphere(event), _on_unit_sphere(located[-1]))
    kilometres = 2 * 6371.0088 * math.asin(min(1.0, chord / 2))
    return kilometres / max(event.event_time - located[-1].event_time, 1000) * 3_600_000


def _on_unit_sphere(event: Transaction) -> tuple[float, float, float]:
    assert event.latitude is not None
    assert event.longitude is not None
    latitude, longitude = math.radians(round(event.latitude, 6)), math.radians(round(event.longitude, 6))
    return math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)
