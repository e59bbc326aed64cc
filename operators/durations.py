"""Durations as people write them: `45s`, `5m`, `24h`, `7d`, `500ms`."""

import re

LONGEST = 36_500 * 86_400_000
"""A century: longer is a mistake."""

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PATTERN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> int:
    """Milliseconds; raises ValueError saying what is wanted."""
    match = PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text[:40]!r} is not a duration: wanted a number and a unit of {', '.join(UNITS)}, such as 5m"
        )
    milliseconds = float(match[1]) * UNITS[match[2]]
    if milliseconds > LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a century")
    return round(milliseconds)
