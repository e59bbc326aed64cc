"""Histories from files: every kind, every format, in event-time order, nothing unusable without its reason."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fraudflow.evaluation.history import HistoryError, read_history
from operators.transactions.formats import Limits

SIMPLE = {"userId": "u1", "amount": 5.0, "timestamp": "2024-12-04T15:00:00Z", "isFraud": 1}
CARD = {
    "transaction_id": "x",
    "customer_id": "c1",
    "amount": 12.5,
    "merchant": "m7",
    "timestamp": "2024-12-04T14:00:00Z",
}
PAYSIM = {"step": 3, "type": "TRANSFER", "amount": 9.0, "nameOrig": "C1", "oldbalanceOrg": 9.0, "isFraud": 0}


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def csv(row: dict[str, Any]) -> str:
    return ",".join(row) + "\n" + ",".join(str(value) for value in row.values()) + "\n"


@pytest.mark.parametrize("row", [SIMPLE, CARD, PAYSIM])
@pytest.mark.parametrize("name", ["h.csv", "h.csv.gz", "h.jsonl", "h.ndjson.gz", "h.parquet"])
def test_each_format_in_each_kind_of_file_is_the_same_transaction(
    tmp_path: Path, name: str, row: dict[str, Any]
) -> None:
    as_json = read_history(write(tmp_path / "expected.jsonl", json.dumps(row)), Limits())
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
        found = read_history(tmp_path / name, Limits())
    else:
        found = read_history(write(tmp_path / name, csv(row) if "csv" in name else json.dumps(row) + "\n\n"), Limits())
    (one,), (expected,) = found.rows, as_json.rows
    assert found.rejected == {}
    assert one.is_fraud == expected.is_fraud
    fields = [field for field in type(one.transaction).__struct_fields__ if field != "transaction_id"]
    assert [getattr(one.transaction, f) for f in fields] == [getattr(expected.transaction, f) for f in fields]
    assert one.transaction.transaction_id == (row.get("transaction_id") or f"{name}-1")


def test_rows_come_in_event_time_order_and_equals_in_the_files(tmp_path: Path) -> None:
    rows = [{**SIMPLE, "transactionId": str(n), "timestamp": 1_700_000_000 + (7 * n) % 3} for n in range(6)]
    found = read_history(write(tmp_path / "h.jsonl", "\n".join(map(json.dumps, rows))), Limits())
    assert [row.transaction.transaction_id for row in found.rows] == ["0", "3", "1", "4", "2", "5"]


def test_what_cannot_be_used_is_counted_with_its_first_row(tmp_path: Path) -> None:
    lines = [json.dumps(SIMPLE), "{", "[]", json.dumps({**SIMPLE, "amount": -1}), json.dumps({**SIMPLE, "amount": -2})]
    lines.append(json.dumps({"userId": "u", "amount": 1}))
    found = read_history(write(tmp_path / "h.jsonl", "\n".join(lines)), Limits())
    assert len(found.rows) == 1
    assert found.rejected == {"amount_negative": 2, "missing_field": 1, "not_an_object": 1, "not_json": 1}
    assert found.first_rejected["amount_negative"].startswith("row 4: `amount` is -1")


@pytest.mark.parametrize("tz", [None, "UTC", "+02:00"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_parquet(tmp_path: Path, tz: str | None, unit: str) -> None:
    for moment in (datetime(2024, 12, 4, 15, 0, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC)):
        times = (
            pa.array([moment], pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, tz))
        )
        table = pa.table({"userId": ["u"], "amount": [1.0], "timestamp": times})
        pq.write_table(table, tmp_path / "h.parquet")
        (row,) = read_history(tmp_path / "h.parquet", Limits()).rows
        assert row.transaction.event_time == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize("name", ["h.txt", "absent.csv", "broken.csv.gz", "broken.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    if name != "absent.csv":
        (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(HistoryError, match=name):
        read_history(tmp_path / name, Limits())


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    text = "userId,amount,timestamp\n" + "u,1,1700000000\n" * 25_000
    read_history(write(tmp_path / "h.csv", text), Limits(), told.append)
    assert told == [10_000, 20_000]
