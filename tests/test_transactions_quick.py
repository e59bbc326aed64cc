"""The short way gives what the long way gives, or leaves the message to it."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.transactions.decoding import Decoder, _object
from operators.transactions.formats import Limits, Rejected, read_transaction
from operators.transactions.quick import QuickReader
from tests.records import Batch

NOON = 1_733_313_600_000
LIMITS = Limits(paysim_start=NOON - 3_600_000, max_id_length=12, max_message_bytes=400, max_clock_skew=60_000)
SIMPLE = {"userId": "u1", "amount": 12.5, "timestamp": "2024-12-04T11:00:00Z", "location": "paris"}
CARD = {
    "transaction_id": "x9", "customer_id": "c1", "amount": 1, "merchant": "m7", "country": "FR", "category": "grocery",
    "timestamp": "2024-12-04T11:00:00.123Z", "latitude": 48.8, "longitude": 2.3, "is_fraud": False,
}  # fmt: skip
PAYSIM = {
    "step": 1, "type": "PAYMENT", "amount": 6990.18, "nameOrig": "C1", "oldbalanceOrg": 60911.31,
    "newbalanceOrig": 53921, "nameDest": "M8", "oldbalanceDest": 0.0, "newbalanceDest": 0.0, "isFraud": 1,
    "isFlaggedFraud": 0,
}  # fmt: skip
MORE = {"customerId", "user_id", "transactionId", "merchant_id", "receiver", "currency"}
FIELDS = sorted({*SIMPLE, *CARD, *PAYSIM, *MORE})
ODD = st.sampled_from([
    None, "", "x", "M", "é" * 12, "é" * 13, "\U0001f600", 0, 1, -1, 1.0, 1.5, -0.0, 2**70, 1e300, True, False, [], {},
    "1", "2024-12-04T11:59:59.999Z", "2024-12-04T11:60:00Z", "2024-12-04T12:00:60Z", "2024-12-04 11:00:00Z",
    "2024-12-04T12:01:00Z", "2024-12-04T12:01:00.001Z", "2024-12-04T11:00:00.1Z", "2024-12-04T11:00", "1733310000",
    "20241204T110000Z", "20241204T110000.000Z", "20241204T110000.012Z", 1733310000, "2024-12-04T11:00:00+01:00",
    "1969-12-31T23:59:59Z", "2024-W49-3T11:00:00Z",
])  # fmt: skip


def long_way(value: bytes | None, offset: int = 7) -> Any:
    try:
        return read_transaction(_object(value, LIMITS), f"t-0-{offset}", NOON, LIMITS)
    except Rejected:
        return None


READER = QuickReader(LIMITS)


def check(value: bytes | None) -> bool:
    """Whether the short way was taken."""
    for reader in (READER, QuickReader(LIMITS)):  # what came before must not matter
        (transaction,), labels, skipped = reader.read([value], [NOON], [7], "t-0")
        assert (transaction is None) == (skipped == [0])
        assert transaction is not None or not labels
        assert transaction is None or (transaction, labels.get(0)) == long_way(value)
    return transaction is not None


@pytest.mark.parametrize("message", [SIMPLE, CARD, PAYSIM, {**SIMPLE, "location": None}])
def test_messages_as_they_should_be_take_the_short_way(message: dict[str, Any]) -> None:
    assert check(orjson.dumps(message))


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from([SIMPLE, CARD, PAYSIM]),
    st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=3),
    st.sets(st.sampled_from(FIELDS), max_size=2),
)
def test_odd_fields_change_nothing(message: dict[str, Any], changes: dict[str, Any], left_out: set[str]) -> None:
    changed = {**message, **changes}
    check(json.dumps({field: value for field, value in changed.items() if field not in left_out}).encode())


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from([SIMPLE, CARD, PAYSIM]), st.integers(0, 300), st.integers(0, 3), st.binary(max_size=3))
@example(SIMPLE, 11, 1, b"\xff")
def test_damaged_bytes_change_nothing(message: dict[str, Any], at: int, gone: int, instead: bytes) -> None:
    value = orjson.dumps(message)
    at %= len(value)
    check(value[:at] + instead + value[at + gone :])


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b'{"userId":"\\ud800","amount":1,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a\x01","amount":1,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","userId":"b","amount":1,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":01,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":1.,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":-0,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":NaN,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":1e-400,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":123456789.123456789123456789,"timestamp":"2024-12-04T11:00:00Z"}',
        b'{"userId":"a","amount":1,"timestamp":"2024-12-04T11:00:00Z","nameOrig":"C1"}',
        b'{"userId":"a","amount":1,"timestamp":"2024-12-04T11:00:00Z"} x',
        b'\xef\xbb\xbf{"userId":"a","amount":1,"timestamp":"2024-12-04T11:00:00Z"}',
        orjson.dumps({**SIMPLE, "location": "x" * 500}),
    ],
)  # fmt: skip
def test_hostile_bytes_change_nothing(value: bytes | None) -> None:
    check(value)


def test_messages_of_both_ways_keep_their_order_and_their_labels() -> None:
    odd = {**CARD, "customer_id": 5, "is_fraud": 1}
    messages = [CARD, odd, PAYSIM, {"userId": ""}, {**CARD, "is_fraud": True}, SIMPLE, {**PAYSIM, "isFraud": "0"}, CARD]
    values: list[bytes | None] = [*map(orjson.dumps, messages), None, b"{"]
    count = len(values)
    decoded = Decoder(LIMITS).transactions(Batch("t", 0, range(7, 7 + count), [NOON] * count, [None] * count, values))
    expected = [read for i, value in enumerate(values) if (read := long_way(value, 7 + i)) is not None]
    assert decoded.transactions == [transaction for transaction, _ in expected]
    assert [label.is_fraud for label in decoded.labels] == [flag for _, flag in expected if flag is not None]
    assert [label.user_id for label in decoded.labels] == [t.user_id for t, flag in expected if flag is not None]
    assert [letter.offset for letter in decoded.dead_letters] == [10, 15, 16]
