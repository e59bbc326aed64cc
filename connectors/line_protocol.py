"""InfluxDB's line protocol: one measured row as one line of bytes."""

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite

Value = float | int | str | bool | None

_NAME = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\ ", "\r": "\\ ", "\t": "\\ "})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\n": "\\ ", "\r": "\\ ", "\t": "\\ "})
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": " ", "\r": " "})


def encode(measurement: str, tags: Mapping[str, str | None], fields: Mapping[str, Value], time_ns: int) -> bytes:
    r"""One line without its line break, or b"" where no field is left; `time_ns` is in nanoseconds since the epoch.

    Integers get the suffix `i`; None, NaN and infinities are left out, and so are empty tags. A line break becomes a
    space: the protocol can't carry one everywhere. Tags are encoded once per set of values, so they must be few.
    Raises TypeError for a value that is no number, text or boolean.

    >>> encode("pipeline", {"reason": "not json"}, {"n": 3, "share": 0.5, "lag": None, "why": 'a "b"'}, 7)
    b'pipeline,reason=not\\ json n=3i,share=0.5,why="a \\"b\\"" 7'
    """
    written = []
    for name, value in fields.items():
        if value is None:
            continue
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, float):
            if not isfinite(value):
                continue
            text = float.__repr__(value)  # numpy's own floats are floats too, but with another repr
        elif isinstance(value, int):
            text = f"{value}i"
        elif isinstance(value, str):
            text = f'"{value.translate(_TEXT)}"'
        else:
            raise TypeError(f"{measurement}.{name} is {type(value).__name__}, not a number, text or boolean")
        written.append(f"{_name(name)}={text}")
    if not written:
        return b""
    return f"{_series(measurement, tuple(tags.items()))} {','.join(written)} {time_ns}".encode(errors="replace")


@lru_cache(maxsize=4096)
def _series(measurement: str, tags: tuple[tuple[str, str | None], ...]) -> str:
    # Sorted by name, as the server stores them.
    written = [f",{_name(name)}={_name(value)}" for name, value in sorted(tags, key=lambda tag: tag[0]) if value]
    return measurement.translate(_MEASUREMENT) + "".join(written)


@lru_cache(maxsize=4096)
def _name(text: str) -> str:
    # A backslash at the end would escape the separator that follows; the protocol has no way to write it.
    return text.rstrip("\\").translate(_NAME)
