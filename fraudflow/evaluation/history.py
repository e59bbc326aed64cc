"""A history from a file: CSV, JSON lines or Parquet, in any of the formats that the flow reads."""

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from operators.times import SMALLEST_MILLISECONDS
from operators.transactions.formats import Limits, Rejected, read_transaction
from operators.transactions.records import Transaction

READABLE = ".csv, .csv.gz, .jsonl, .jsonl.gz, .ndjson, .ndjson.gz, .parquet"


class HistoryError(ValueError):
    """A file that can't be read; the text names it."""


class Labelled(NamedTuple):
    """A transaction, and whether it was fraud (None: not known)."""

    transaction: Transaction
    is_fraud: bool | None


class History(NamedTuple):
    """The transactions of a file in event-time order (of equals, in the file's), and what could not be used: how many
    rows for each reason, and the first of each with its row number."""

    rows: list[Labelled]
    rejected: dict[str, int]
    first_rejected: dict[str, str]


def read_history(path: Path, limits: Limits, progress: Callable[[int], None] = lambda _: None) -> History:
    """Read the whole file; `progress` is told the rows so far, every 10,000. Raises HistoryError.

    A row without an id of its own gets `name-row`. There is no broker's timestamp: a row must have its time.
    """
    rows: list[Labelled] = []
    rejected: Counter[str] = Counter()
    first: dict[str, str] = {}
    try:
        for number, message in enumerate(_messages(path), 1):
            try:
                if isinstance(message, Rejected):
                    raise message
                rows.append(Labelled(*read_transaction(message, f"{path.name}-{number}", None, limits)))
            except Rejected as error:
                rejected[error.reason] += 1
                first.setdefault(error.reason, f"row {number}: {error}")
            if number % 10_000 == 0:
                progress(number)
    except UnicodeDecodeError as error:
        raise HistoryError(f"{path}: not a text file (UTF-8 is wanted)") from error
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror or error}") from error
    except (EOFError, csv.Error) as error:
        raise HistoryError(f"{path}: {error}") from error
    rows.sort(key=lambda row: row.transaction.event_time)
    return History(rows, dict(sorted(rejected.items())), first)


def _messages(path: Path) -> Iterator[dict[str, Any] | Rejected]:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        with _text(path) as file:
            yield from csv.DictReader(file)
    elif name.endswith((".jsonl", ".ndjson", ".json")):
        with _text(path) as file:
            yield from (_object(line) for line in file if line.strip())
    elif name.endswith(".parquet"):
        yield from _parquet(path)
    else:
        raise HistoryError(f"{path}: not a kind of file that is read here: wanted {READABLE}")


def _text(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _object(line: str) -> dict[str, Any] | Rejected:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Rejected("not_json", f"not JSON: {error}")
    if type(message) is not dict:
        return Rejected("not_an_object", f"a JSON {type(message).__name__}: wanted an object")
    return message


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                columns = [_plain(column) for column in batch.columns]
                yield from (dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True))
    except pa.ArrowException as error:
        raise HistoryError(f"{path}: {error}") from error


def _plain(column: Any) -> list[Any]:
    """The values as JSON would hold them: times (naive ones are UTC) as milliseconds, or as ISO 8601 in the years whose
    milliseconds would be taken for seconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    milliseconds = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    least = pc.min(milliseconds).as_py()
    if least is not None and least < SMALLEST_MILLISECONDS:
        return [value and value.isoformat() for value in column.to_pylist()]
    return milliseconds.to_pylist()  # type: ignore[no-any-return]
