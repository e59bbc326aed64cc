"""What a feature is called: the grammar of the names that rules and models use.

`<aggregate>[_<field>]_<window>[_before][_by_<entity>]`, and a few names without a window. See docs/windows.md. A field
is one of the transaction or a derived one, of which the kind of value is given by its name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Final, Literal

from operators.expressions import Kind, UnknownName

WindowKind = Literal["trailing", "tumbling", "last", "ever"]

SECOND: Final = 1000
UNITS: Final[Mapping[str, int]] = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
LONGEST_WINDOW: Final = 400 * UNITS["d"]
MOST_EVENTS: Final = 1000
LONGEST_NAME: Final = 120

# Transaction fields by kind; the value says whether a transaction may lack the field.
TEXTS: Final[Mapping[str, bool]] = {
    "format": False,
    "user_id": False,
    "currency": True,
    "type": True,
    "merchant_id": True,
    "receiver_id": True,
    "category": True,
    "country": True,
    "location": True,
}
AMOUNTS: Final[Mapping[str, bool]] = {"amount": False, "old_balance": True, "receiver_old_balance": True}
PLACES: Final[Mapping[str, bool]] = {"latitude": True, "longitude": True}
ALIASES: Final[Mapping[str, str]] = {"user": "user_id", "merchant": "merchant_id", "receiver": "receiver_id"}
"""Short names of fields; as entities they are the names to use."""

ENTITIES: Final[tuple[str, ...]] = (*ALIASES, *(field for field in (*TEXTS, *AMOUNTS) if field not in ALIASES.values()))
LABELLED: Final = ("user", "merchant", "receiver")
"""The entities whose keys a label tells; all others are those of its transaction."""
NOT_DERIVED: Final[Mapping[str, Kind]] = {}

NUMERIC: Final = ("sum", "mean", "min", "max", "std")
OF_ANY_FIELD: Final = ("distinct", "last", "is_new")
FROM_LABELS: Final = ("fraud_count", "fraud_rate")
WITHOUT_WINDOW: Final = ("seconds_since_last", "speed_kmh")

_NAME: Final = re.compile(
    r"(?P<aggregate>count|sum|mean|min|max|std|distinct|last|is_new|fraud_count|fraud_rate)"
    r"(?:_(?P<field>[a-z][a-z0-9_]*?))??"
    r"_(?P<window>(?:tumbling_)?\d+[a-z]+|last\d+|ever)"
    r"(?P<before>_before)?(?:_by_(?P<entity>[a-z_]+?))?(?P<after>_before)?",
    re.ASCII,
)
_WITHOUT_WINDOW: Final = re.compile(rf"(?P<aggregate>{'|'.join(WITHOUT_WINDOW)})(?:_by_(?P<entity>[a-z_]+))?")
_LOOKS_LIKE_WINDOW: Final = re.compile(r"(?:tumbling_)?\d+[a-z]+|last\d+|ever")


class UnknownFeature(UnknownName):
    """A name that is no feature; `nearest` holds the ones that look like it."""


@dataclass(frozen=True)
class Window:
    """Which events count: `length` is milliseconds (trailing, tumbling), a number of events (last) or 0 (ever)."""

    kind: WindowKind
    length: int


@dataclass(frozen=True)
class Feature:
    """One window feature. `field` is a field of the transaction or a derived one, `entity` a name of `ENTITIES`.

    `before` leaves the event itself out. `window` is None only for `WITHOUT_WINDOW`.
    """

    name: str
    aggregate: str
    field: str | None
    window: Window | None
    entity: str = "user"
    before: bool = False

    @property
    def of_labels(self) -> bool:
        """Whether it is made of labels, not of events."""
        return self.aggregate in FROM_LABELS

    @property
    def of_told_labels(self) -> bool:
        """Whether it is made of what labels tell themselves; others of labels need to know the label's transaction."""
        return self.of_labels and self.field is None and self.entity in LABELLED

    @property
    def of_completed_labels(self) -> bool:
        """Whether it is made of labels together with what their transaction had: a field, or the key of its entity."""
        return self.of_labels and not self.of_told_labels

    @property
    def has_own_value(self) -> bool:
        """Whether its value at an event depends on the field's value of that event."""
        return self.field is not None and not self.of_labels and (not self.before or self.aggregate == "is_new")

    @property
    def key_field(self) -> str:
        """The field of the transaction that holds the entity's key."""
        return ALIASES.get(self.entity, self.entity)


def parse_feature(name: str, derived: Mapping[str, Kind] = NOT_DERIVED) -> Feature:
    """The feature that `name` stands for. Raises UnknownFeature, which says why and names the nearest."""
    if len(name) > LONGEST_NAME:
        raise UnknownFeature(name, (), f"no name has more than {LONGEST_NAME} characters")
    if match := _WITHOUT_WINDOW.fullmatch(name):
        return Feature(name, match["aggregate"], None, None, _entity(name, match["entity"]), before=True)
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownFeature(name, nearest(name, derived))
    aggregate = match["aggregate"]
    before = bool(match["before"] or match["after"])
    if match["before"] and match["after"]:
        raise UnknownFeature(name, (name.removesuffix("_before"),), "`_before` stands twice")
    if aggregate == "is_new" and before:
        raise UnknownFeature(name, (name.replace("_before", ""),), "is_new never looks at the event itself")
    if aggregate in FROM_LABELS and before:
        raise UnknownFeature(name, (name.replace("_before", ""),), f"{aggregate} never has the event's own label")
    if aggregate in FROM_LABELS and "tumbling" in match["window"]:
        raise UnknownFeature(name, (name.replace("tumbling_", ""),), f"{aggregate} takes no tumbling window")
    return Feature(
        name,
        aggregate,
        _field(name, aggregate, match["field"], derived),
        _window(name, match["window"]),
        _entity(name, match["entity"]),
        before or aggregate == "is_new",
    )


def nearest(name: str, derived: Mapping[str, Kind] = NOT_DERIVED) -> tuple[str, ...]:
    """Up to three names that exist and look like `name`, with its own window where it has one."""
    window = _LOOKS_LIKE_WINDOW.search(name)
    span = window[0] if window and window[0] != "ever" else ("ever" if name.endswith("ever") else "1h")
    before = "_before" if "_before" in name else ""
    entities = [f"_by_{entity}" for entity in ENTITIES] if "_by" in name else [""]
    stems = [
        "count",
        *FROM_LABELS,
        *(f"{aggregate}_{field}" for aggregate, field in product(FROM_LABELS, _of_labels(derived))),
        *(f"{aggregate}_{field}" for aggregate, field in product(NUMERIC, _of_numbers(derived))),
        *(f"{aggregate}_{field}" for aggregate, field in product(OF_ANY_FIELD, _all_fields(derived))),
    ]
    known = [f"{stem}_{span}{before}{entity}" for stem, entity in product(stems, entities)]
    known += [f"{stem}{entity}" for stem, entity in product(WITHOUT_WINDOW, entities)]
    known += [*TEXTS, *AMOUNTS, *PLACES, *ALIASES, *derived, "event_time", "hour_of_day", "is_night", "is_weekend"]
    return tuple(get_close_matches(name, known, 3, 0.6))


def _of_numbers(derived: Mapping[str, Kind]) -> tuple[str, ...]:
    """The fields that can be added up."""
    return (*AMOUNTS, *(field for field, kind in derived.items() if kind != "text"))


def _of_labels(derived: Mapping[str, Kind]) -> tuple[str, ...]:
    """The fields that labels can be told apart by."""
    return tuple(field for field, kind in derived.items() if kind == "boolean")


def _all_fields(derived: Mapping[str, Kind]) -> tuple[str, ...]:
    return (*TEXTS, *AMOUNTS, *ALIASES, *derived)


def _window(name: str, text: str) -> Window:
    if text == "ever":
        return Window("ever", 0)
    if text.startswith("last"):
        events = int(text.removeprefix("last"))
        if not 1 <= events <= MOST_EVENTS:
            raise UnknownFeature(name, (), f"the last 1 to {MOST_EVENTS} events can be named, not {events}")
        return Window("last", events)
    tumbling = text.startswith("tumbling_")
    number, unit = text.removeprefix("tumbling_")[:-1], text[-1]
    if unit not in UNITS or not number.isdigit():
        raise UnknownFeature(name, (), f"a window is a number and one of {', '.join(UNITS)}, as in 45s, 1m, 6h, 30d")
    length = int(number) * UNITS[unit]
    if not 0 < length <= LONGEST_WINDOW:
        raise UnknownFeature(name, (), f"a window is at least 1s and at most {LONGEST_WINDOW // UNITS['d']}d long")
    return Window("tumbling" if tumbling else "trailing", length)


def _field(name: str, aggregate: str, field: str | None, derived: Mapping[str, Kind]) -> str | None:
    if aggregate == "count" or (aggregate in FROM_LABELS and field is None):
        if field is not None:
            raise UnknownFeature(name, (name.replace(f"_{field}", "", 1),), f"{aggregate} takes no field")
        return None
    if aggregate in FROM_LABELS:
        known = _of_labels(derived)
    else:
        known = _of_numbers(derived) if aggregate in NUMERIC else _all_fields(derived)
    if field is None:
        example = name.replace(aggregate, f"{aggregate}_{known[0] if aggregate in NUMERIC else 'location'}", 1)
        raise UnknownFeature(name, (example,), f"{aggregate} needs a field")
    if field not in known:
        similar = tuple(name.replace(field, known_field, 1) for known_field in get_close_matches(field, known, 3, 0.5))
        if aggregate in FROM_LABELS:
            similar = similar or (name.replace(f"_{field}", "", 1),)
            raise UnknownFeature(name, similar, f"{field!r} is no derived field ([[field]]) that is true or false")
        kind = "amount" if aggregate in NUMERIC else "field"
        raise UnknownFeature(name, similar, f"{field!r} is no {kind} of a transaction that {aggregate} can take")
    return ALIASES.get(field, field)


def _entity(name: str, entity: str | None) -> str:
    if entity is None:
        return "user"
    for alias, field in ALIASES.items():
        if entity in (alias, field):
            return alias
    if entity not in ENTITIES:
        similar = tuple(
            f"{name.removesuffix(entity)}{known}"
            for known in get_close_matches(entity.split("_before")[0], ENTITIES, 3, 0.5)
        )
        raise UnknownFeature(name, similar, f"{entity!r} is no entity; known: {', '.join(ENTITIES)}")
    return entity
