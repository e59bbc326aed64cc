"""Times in and out: whole milliseconds since the epoch, UTC, inside; ISO 8601 with `Z` outside."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from operators.showing import shown

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# Numbers below this are seconds (until the year 5138), from it on milliseconds (since 1973).
SMALLEST_MILLISECONDS = 100_000_000_000
# From 1973 on: 0 and 2024 are no times.
SMALLEST_SECONDS = 100_000_000
LARGEST = 253_402_300_799_999  # the last millisecond of the year 9999


def parse_time(value: object) -> int:
    """Milliseconds since the epoch of an ISO 8601 text (naive means UTC), or of epoch seconds or milliseconds as a
    number or a text of one.

    Raises ValueError naming the value where it is none of these, or outside the years 1970 to 9999.
    """
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return _from_number(value, _float(value))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        milliseconds = (moment - EPOCH) // MILLISECOND
        if milliseconds < 0:
            raise ValueError(f"{shown(value)} is before 1970")
        return milliseconds
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value, value)
    raise ValueError(f"{shown(value)} is not a time: wanted ISO 8601, or epoch seconds or milliseconds")


def is_plain(value: object) -> bool:
    """Not a text that Python alone takes for a number: `1_000`, digits of other scripts."""
    return not isinstance(value, str) or (value.isascii() and "_" not in value)


def _float(text: str) -> float:
    try:
        if not is_plain(text):
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a time: wanted ISO 8601, or epoch seconds or milliseconds") from None


def _from_number(value: object, number: float) -> int:
    if not SMALLEST_SECONDS <= number <= LARGEST:  # also catches NaN
        raise ValueError(f"{shown(value)} is not epoch seconds or milliseconds of the years 1973 to 9999")
    return int(number) if number >= SMALLEST_MILLISECONDS else int(number * 1000)


def iso(milliseconds: int) -> str:
    """`2024-12-04T15:00:00.000Z`."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4096)  # the times of a batch lie close together; formatting one takes 2 µs
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
