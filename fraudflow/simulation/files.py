"""Recorded transactions, to be sent again: CSV or JSON lines, plain or gzipped, in any of the formats."""

import csv
import gzip
import io
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from operators.times import parse_time

HOUR = 3_600_000
WHOLE = frozenset({"step", "isFraud", "is_fraud", "isFlaggedFraud"})
DECIMAL = frozenset(
    {"amount", "oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest", "latitude", "longitude"}
)
USERS = ("nameOrig", "userId", "customer_id", "customerId", "user_id")


class Row(NamedTuple):
    """One recorded transaction. `time` (milliseconds) is where it lies in the recording, None where it says nothing."""

    time: int | None
    key: bytes
    value: bytes


class BadFile(ValueError):
    """A file that holds no transactions in a known form; says what was wanted."""


def read_rows(path: Path, paysim_start: int = 0) -> Iterator[Row]:
    """The rows of a file in its own order.

    PaySim knows the hour only (`step`): the rows of an hour are spread over it, in their order. Raises BadFile.
    """
    with _opened(path) as lines:
        messages = _csv(lines) if _kind(path) == "csv" else map(orjson.loads, lines)
        for (step, hour), group in groupby(messages, lambda message: _hour(message, paysim_start)):
            if step is None:
                for message in group:
                    yield _row(message, _time(message))
                continue
            rows = list(group)
            for number, message in enumerate(rows):
                yield _row(message, hour + number * HOUR // len(rows))


def _row(message: dict[str, Any], time: int | None) -> Row:
    user = next((message[field] for field in USERS if field in message), None)
    if user is None:
        raise BadFile(f"no user in {sorted(message)}: one of {', '.join(USERS)} is wanted")
    return Row(time, str(user).encode(), orjson.dumps(message))


def _hour(message: dict[str, Any], paysim_start: int) -> tuple[int | None, int]:
    if "nameOrig" not in message or "step" not in message:
        return None, 0
    return message["step"], paysim_start + int(message["step"]) * HOUR


def _time(message: dict[str, Any]) -> int | None:
    try:
        return parse_time(message["timestamp"])
    except (KeyError, ValueError):
        return None


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    kinds = {".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
    kind = kinds.get(Path(name).suffix)
    if kind is None:
        raise BadFile(f"{path}: can't tell what it is: wanted .csv, .jsonl or .ndjson, plain or with .gz")
    return kind


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _csv(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for row in csv.DictReader(lines):
        message: dict[str, Any] = {}
        for field, text in row.items():
            if field in WHOLE:
                message[field] = int(text)
            elif field in DECIMAL and text:
                message[field] = float(text)
            elif text:
                message[field] = text
        yield message
