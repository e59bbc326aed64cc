"""The line protocol: what is encoded is what a real server gives back."""

import math
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.influxdb import LineQueue, Target, encode
from tests.servers.influxdb import InfluxDB


@pytest.mark.parametrize(
    ("tags", "fields", "expected"),
    [
        ({}, {"n": 1}, b"m n=1i 5"),
        ({"b": "2", "a": "1"}, {"n": 1}, b"m,a=1,b=2 n=1i 5"),
        ({"a": "", "b": None}, {"n": 1}, b"m n=1i 5"),
        ({"a key": "x=y, z"}, {"a field": 0.5}, rb"m,a\ key=x\=y\,\ z a\ field=0.5 5"),
        ({"a": "ends with \\"}, {"n": 1}, rb"m,a=ends\ with\  n=1i 5"),
        ({"a": "two\nlines"}, {"t": "two\nlines"}, rb'm,a=two\ lines t="two lines" 5'),
        ({}, {"t": 'say "hi" \\ bye'}, rb'm t="say \"hi\" \\ bye" 5'),
        ({}, {"yes": True, "no": False}, b"m yes=true,no=false 5"),
        ({}, {"one": 1.0, "big": 1e22, "small": -1e-9}, b"m one=1.0,big=1e+22,small=-1e-09 5"),
        ({}, {"nan": math.nan, "inf": -math.inf, "none": None, "n": 0}, b"m n=0i 5"),
        ({}, {"nan": math.nan, "none": None}, b""),
        ({}, {"x": np.float64(0.25)}, b"m x=0.25 5"),
        ({"land": "Österreich"}, {"t": "€"}, 'm,land=Österreich t="€" 5'.encode()),
        ({}, {"t": "lone \ud800"}, b'm t="lone ?" 5'),
    ],
)
def test_encode(tags: dict[str, str | None], fields: dict[str, Any], expected: bytes) -> None:
    assert encode("m", tags, fields, 5) == expected


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match=r"alerts\.rules is list"):
        encode("alerts", {}, {"rules": ["a"]}, 5)  # type: ignore[dict-item]


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S", "Zs")), max_size=30)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "tag": TEXT.filter(lambda text: text.strip() == text and not text.endswith("\\")),
            "text": TEXT,
            "number": st.floats(allow_nan=False, allow_infinity=False),
            "count": st.integers(-(2**63), 2**63 - 1),
            "truth": st.booleans(),
        }
    ),
    min_size=20,
)


@pytest.mark.servers
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_a_real_server_gives_back_what_was_encoded(influxdb: InfluxDB, rows: list[dict[str, Any]]) -> None:
    name = f"odd, {uuid4().hex}"
    queue = LineQueue(Target(influxdb.url, "user:password", "any", influxdb.bucket), deadline=5)
    queue.open()
    first = 1_733_324_400_000_000_123
    for time, row in enumerate(rows, first):
        fields = {field: value for field, value in row.items() if field != "tag"}
        queue.put([encode(name, {"tag": row["tag"], "other tag": "x"}, fields, time)])
    queue.flush()
    queue.close()
    stored = influxdb.query(f'SELECT * FROM "{name}"')
    for time, (back, row) in enumerate(zip(stored, rows, strict=True), first):
        # As JSON the server writes 4e16 without a point.
        back["number"] = float(back["number"])
        back["tag"] = back.get("tag") or ""
        assert back == {"time": time, "other tag": "x", **row}
