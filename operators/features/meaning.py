"""What a name stands for without any plan: its kind, and whether its value can be missing."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from operators.expressions import Kind, Name
from operators.features.names import ALIASES, AMOUNTS, PLACES, TEXTS, UNITS, Feature

HOUR: Final = UNITS["h"]
DAY: Final = UNITS["d"]

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


class Type(NamedTuple):
    """Of a derived field."""

    kind: Kind
    nullable: bool


def kind_of(feature: Feature, derived: Mapping[str, Kind]) -> Kind:
    """Of the feature's values."""
    if feature.aggregate == "is_new":
        return "boolean"
    if feature.aggregate != "last" or feature.field is None:
        return "number"
    return "text" if feature.field in TEXTS else derived.get(feature.field, "number")


def is_nullable(feature: Feature, derived: Mapping[str, Type]) -> bool:
    """Whether the feature's value can be missing."""
    fields = {**TEXTS, **AMOUNTS}
    if fields[feature.key_field] or feature.aggregate in ("std", "seconds_since_last", "speed_kmh"):
        return True
    if feature.of_labels or feature.aggregate in ("count", "sum", "distinct"):
        return False
    own = feature.aggregate == "is_new" or not feature.before
    field = feature.field or "amount"
    return not own or (derived[field].nullable if field in derived else fields[field])
