"""What the generated loop calls for the values that are more than a difference of two sums.

Slices hold own values of events, 0 where an event lacks the field.
"""

from array import array
from collections.abc import Iterable
from math import asin, cos, radians, sin, sqrt
from typing import Final

from operators.features.layout import code, decode

UNIT: Final = 10_000
"""Amounts are whole numbers of 1/10000 inside: sums are exact and do not depend on the order of events."""

LARGEST: Final = 1e11
DEGREE: Final = 1_000_000
LONGITUDES: Final = 360 * DEGREE + 1
EARTH_RADIUS_KM: Final = 6371.0088


def units(value: float | None) -> int | None:
    """A number that may be missing, in units; one that is not finite or beyond 1e11 counts as missing."""
    return round(value * UNIT) if value is not None and -LARGEST < value < LARGEST else None


def code_of(number: int | None) -> int:
    """The own value of a number of units that may be missing."""
    return 0 if number is None else code(number)


def place(latitude: float | None, longitude: float | None) -> int:
    """Both coordinates as one own value, to a millionth of a degree (0.1 m)."""
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return 0
    return round((latitude + 90) * DEGREE) * LONGITUDES + round((longitude + 180) * DEGREE) + 1


def amount(value: int) -> float | None:
    """The amount of an own value."""
    return decode(value) / UNIT if value else None


def flag(value: int) -> bool | None:
    """Whether the own value of what is true or false is true."""
    return decode(value) != 0 if value else None


def rounded(value: float | None) -> float | None:
    """A derived number as it is kept: to 1/10000, missing where it is not finite or beyond 1e11."""
    number = units(value)
    return None if number is None else number / UNIT


def mean(total: int, count: int) -> float | None:
    """Of no event: missing."""
    return total / (UNIT * count) if count else None


def least(values: Iterable[int]) -> int:
    """The minimum of the known values, 0 where none is known."""
    return min(filter(None, values), default=0)


def most(values: Iterable[int]) -> int:
    """The maximum of the known values, 0 where none is known."""
    return max(filter(None, values), default=0)


def least_at(values: "array[int]") -> int:
    """Which of the values is the least of the known ones, from 1; 0 where none is known."""
    least = min(filter(None, values), default=0)
    return values.index(least) + 1 if least else 0


def most_at(values: "array[int]") -> int:
    """Which of the values is the greatest of the known ones, from 1; 0 where none is known."""
    most = max(filter(None, values), default=0)
    return values.index(most) + 1 if most else 0


def distinct_ever(values: Iterable[int], seen: list[set[int]] | None, number: int) -> int:
    """How many different known values, with those from before the log."""
    within = set(values) - {0}
    return len(within - seen[number]) + len(seen[number]) if seen else len(within)


def is_new(value: int, values: "array[int]") -> bool | None:
    """Whether no event in `values` has the value; missing for a missing one."""
    return value not in values if value else None


def is_new_ever(value: int, values: "array[int]", seen: list[set[int]] | None, number: int) -> bool | None:
    """The same with those from before the log."""
    if not value:
        return None
    return value not in values and not (seen and value in seen[number])


def latest(values: "array[int]") -> int:
    """The last known value, 0 where there is none."""
    return next(filter(None, reversed(values)), 0)


def speed_kmh(here: int, there: int, elapsed: int) -> float | None:
    """From place to place in `elapsed` milliseconds; less than a second counts as one.

    Great circle by the haversine formula (R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68, 1984).
    """
    if not here or not there:
        return None
    (latitude, longitude), (old_latitude, old_longitude) = _degrees(here), _degrees(there)
    a = (
        sin(radians(latitude - old_latitude) / 2) ** 2
        + cos(radians(latitude)) * cos(radians(old_latitude)) * sin(radians(longitude - old_longitude) / 2) ** 2
    )
    kilometres = 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, a)))
    return kilometres / max(elapsed, 1000) * 3_600_000


def _degrees(number: int) -> tuple[float, float]:
    latitude, longitude = divmod(number - 1, LONGITUDES)
    return latitude / DEGREE - 90, longitude / DEGREE - 180
