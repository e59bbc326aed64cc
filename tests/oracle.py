"""What the windows should say, in the slowest and plainest way: every event is kept, every value is searched anew.

It follows docs/windows.md and shares nothing with the engine but the names' grammar.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from operators.features.names import AMOUNTS, Feature
from operators.transactions.records import Transaction


class Oracle:
    """All events of an entity, in the order in which they came."""

    def __init__(self, features: Sequence[Feature], allowed_lateness: int) -> None:
        self.features = features
        self.allowed_lateness = allowed_lateness
        self.events: dict[Any, list[Transaction]] = {}

    def add(self, event: Transaction) -> tuple[dict[str, Any], bool]:
        """The values of every feature for the event, and whether it was too late for them to be promised."""
        key = getattr(event, self.features[0].key_field)
        if key is None:
            return {feature.name: None for feature in self.features}, False
        earlier = self.events.setdefault(key, [])
        late = bool(earlier) and event.event_time < max(e.event_time for e in earlier) - self.allowed_lateness
        earlier.append(event)
        # Sorted by time; the sort is stable, so events with one time keep the order in which they came.
        past = sorted((e for e in earlier if e.event_time <= event.event_time), key=lambda e: e.event_time)
        assert past[-1] is event
        return {feature.name: value_of(feature, event, past) for feature in self.features}, late


def value_of(feature: Feature, event: Transaction, past: list[Transaction]) -> Any:
    """The value of a feature at `event`, the last of `past`."""
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
            return (float(values[-1]) if feature.field in AMOUNTS else values[-1]) if values else None
        case "is_new":
            own = value_in(event, feature.field)
            return None if own is None else own not in values
    raise AssertionError(feature.aggregate)


def value_in(event: Transaction, field: str) -> Any:
    """A text, or an amount to 1/10000."""
    value = getattr(event, field)
    return Fraction(round(value * 10_000), 10_000) if field in AMOUNTS and value is not None else value


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
