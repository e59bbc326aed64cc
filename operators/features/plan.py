"""Which features are kept: those that a rule or the model names, each entity's apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from operators.expressions import Kind, Name, UnknownName
from operators.features.names import (
    ALIASES,
    AMOUNTS,
    PLACES,
    TEXTS,
    UNITS,
    Feature,
    nearest,
    parse_feature,
)

HOUR: Final = UNITS["h"]
DAY: Final = UNITS["d"]
IDLE: Final = 365 * DAY
"""How long a key is kept after its last event for what has no end of its own (the last N, ever, since the last)."""

# The transaction itself. The hour and the day are UTC; 1970-01-01 was a Thursday, so Monday is day 4 of 7.
STATELESS: Final = {
    **{field: Name(f"t.{field}", "text", nullable) for field, nullable in TEXTS.items()},
    **{field: Name(f"t.{field}", "number", nullable) for field, nullable in {**AMOUNTS, **PLACES}.items()},
    **{alias: Name(f"t.{field}", "text", TEXTS[field]) for alias, field in ALIASES.items()},
    "transaction_id": Name("t.transaction_id", "text", False),
    "event_time": Name("t.event_time", "number", False),
    "hour_of_day": Name(f"(t.event_time // {HOUR} % 24)", "number", False),
    "is_night": Name(f"(t.event_time // {HOUR} % 24 < 6)", "boolean", False),
    "is_weekend": Name(f"((t.event_time // {DAY} + 3) % 7 > 4)", "boolean", False),
}


@dataclass(frozen=True)
class EntityPlan:
    """The window features of one entity. `field` of a transaction holds its key; times in milliseconds."""

    entity: str
    field: str
    features: tuple[Feature, ...]
    allowed_lateness: int
    repeats: bool = False
    """Whether a repeated `transaction_id` is recognised."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values in a row of `Windows.update`, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def span(self) -> int:
        """The longest window that has a length in time; 0 where there is none."""
        return max((warm_after(feature) for feature in self.features if not feature.of_labels), default=0)

    @property
    def furthest_back(self) -> int:
        """How far behind its key's latest event one may lie whose windows must be complete.

        A repeat may be as late as any event, and what it repeats as far behind it.
        """
        return 2 * self.allowed_lateness + 1 if self.repeats else self.allowed_lateness

    @property
    def last(self) -> int:
        """How many events before any event must be kept whatever their age."""
        counted = [f.window.length for f in self.features if f.window and f.window.kind == "last" and not f.of_labels]
        counted += [1 for f in self.features if f.aggregate == "seconds_since_last"]
        return max(counted, default=0)

    @property
    def endless(self) -> bool:
        """Whether a feature looks further back than any length of time."""
        return any((f.window is None or f.window.kind in ("last", "ever")) for f in self.features if not f.of_labels)

    @property
    def has_labels(self) -> bool:
        """Whether a feature is made of labels."""
        return any(feature.of_labels for feature in self.features)

    @property
    def label_span(self) -> int:
        """The longest window of labels that has a length in time; 0 where there is none."""
        return max((warm_after(feature) for feature in self.features if feature.of_labels), default=0)

    @property
    def label_last(self) -> int:
        """How many labels before any event must be kept whatever their age."""
        counted = [f.window.length for f in self.features if f.of_labels and f.window and f.window.kind == "last"]
        return max(counted, default=0)

    @property
    def labels_endless(self) -> bool:
        """Whether a feature counts all labels ever."""
        return any(f.of_labels and f.window is not None and f.window.kind == "ever" for f in self.features)

    @property
    def retention(self) -> int:
        """How long a key that has no further event is remembered, at least."""
        return max(self.span + self.furthest_back, IDLE if self.endless else 0)


@dataclass(frozen=True)
class Plan:
    """All features that are kept, and what a name in an expression stands for (`name` is a `Namespace`)."""

    entities: tuple[EntityPlan, ...]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], *, allowed_lateness: int, repeats: bool = False) -> "Plan":
        """The plan for every name that a rule or a model uses. Raises UnknownName.

        With `repeats` the user's windows recognise a repeated `transaction_id`; they are there in any case then.
        """
        features: dict[str, list[Feature]] = {"user": []} if repeats else {}
        for name in sorted(set(names) - STATELESS.keys()):
            feature = parse_feature(name)
            features.setdefault(feature.entity, []).append(feature)
        entities = tuple(
            EntityPlan(
                entity,
                ALIASES.get(entity, entity),
                tuple(features[entity]),
                allowed_lateness,
                repeats and entity == "user",
            )
            for entity in sorted(features, key=lambda entity: (entity != "user", entity))
        )
        return cls(entities, tuple(column for entity in entities for column in entity.columns))

    def warm_after(self, column: str) -> int:
        """How long (ms) events must have been coming in until the column's window is full.

        0 for what has no length in time (the last N, ever, since the last): that starts with the first event.
        """
        return warm_after(parse_feature(column))

    def name(self, name: str) -> Name:
        """What `name` is: source over the transaction `t` and the row `f`, its kind, and whether it can be missing.

        Raises UnknownName, also for a feature that the plan does not keep.
        """
        if known := STATELESS.get(name):
            return known
        if name in self.columns:
            feature = parse_feature(name)
            return Name(f"f[{self.columns.index(name)}]", _kind(feature), _nullable(feature))
        parse_feature(name)
        raise UnknownName(name, nearest(name), "a feature that is not kept, as no rule or model named it at the start")


def warm_after(feature: Feature) -> int:
    """How long (ms) events must have been coming in until the window is full; 0 where it has no length in time."""
    window = feature.window
    return window.length if window and window.kind in ("trailing", "tumbling") else 0


def _kind(feature: Feature) -> Kind:
    if feature.aggregate == "is_new":
        return "boolean"
    return "text" if feature.aggregate == "last" and feature.field in TEXTS else "number"


def _nullable(feature: Feature) -> bool:
    fields = {**TEXTS, **AMOUNTS}
    if fields[feature.key_field] or feature.aggregate in ("std", "seconds_since_last", "speed_kmh"):
        return True
    if feature.of_labels or feature.aggregate in ("count", "sum", "distinct"):
        return False
    own = feature.aggregate == "is_new" or not feature.before
    return not own or fields[feature.field or "amount"]
