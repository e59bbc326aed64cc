"""Decoding: every format, every leniency, every reason for a dead letter."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.times import iso, parse_time
from operators.transactions.decoding import Decoder
from operators.transactions.formats import REASONS, Limits
from tests.records import Batch

NOON = parse_time("2024-12-04T12:00:00Z")
HOUR = 3_600_000
LIMITS = Limits(paysim_start=parse_time("2024-12-01T00:00:00Z"), label_delay=HOUR, max_clock_skew=60_000)


def batch(*values, arrived_at=NOON):
    encoded = [value if value is None or isinstance(value, bytes) else orjson.dumps(value) for value in values]
    count = len(values)
    return Batch("transactions", 3, [100 + i for i in range(count)], [arrived_at] * count, [b"k"] * count, encoded)


def decode(*values, limits=LIMITS):
    return Decoder(limits).transactions(batch(*values))


def one(value, **options):
    decoded = decode(value, **options)
    assert not decoded.dead_letters, decoded.dead_letters
    return decoded.transactions[0]


def refused(value, **options):
    decoded = decode(value, **options)
    assert not decoded.transactions
    return decoded.dead_letters[0]


SIMPLE = {"userId": "12345", "amount": 15000, "timestamp": "2024-12-04T11:00:00Z"}
CARD = {
    "transaction_id": "x9", "customer_id": "c1", "amount": 12.5, "merchant": "m7", "country": "FR",
    "category": "grocery", "timestamp": "2024-12-04T11:00:00Z", "latitude": 48.8, "longitude": 2.3,
}  # fmt: skip
PAYSIM = {
    "step": 1, "type": "PAYMENT", "amount": 6990.18, "nameOrig": "C1101721002", "oldbalanceOrg": 60911.31,
    "newbalanceOrig": 53921.13, "nameDest": "M809128217", "oldbalanceDest": 0.0, "newbalanceDest": 0.0, "isFraud": 0,
}  # fmt: skip


def test_the_simple_format():
    transaction = one(SIMPLE)
    assert transaction.format == "simple"
    assert transaction.transaction_id == "transactions-3-100"
    assert (transaction.user_id, transaction.amount) == ("12345", 15000.0)
    assert transaction.event_time == NOON - HOUR
    assert transaction.arrived_at == NOON


def test_the_card_format():
    transaction = one(CARD)
    assert (transaction.format, transaction.transaction_id, transaction.user_id) == ("card", "x9", "c1")
    assert (transaction.merchant_id, transaction.country, transaction.category) == ("m7", "FR", "grocery")
    assert (transaction.latitude, transaction.longitude) == (48.8, 2.3)


def test_the_paysim_format():
    decoded = decode(PAYSIM)
    transaction = decoded.transactions[0]
    assert transaction.format == "paysim"
    assert transaction.event_time == LIMITS.paysim_start + HOUR
    assert (transaction.user_id, transaction.receiver_id) == ("C1101721002", "M809128217")
    assert transaction.merchant_id == "M809128217"
    assert (transaction.old_balance, transaction.receiver_old_balance) == (60911.31, 0.0)
    assert one({**PAYSIM, "nameDest": "C5"}).merchant_id is None


def test_what_is_known_only_afterwards_is_nowhere_in_the_transaction():
    told = one({**PAYSIM, "newbalanceOrig": 777.25, "newbalanceDest": 888.5, "isFlaggedFraud": 1, "isFraud": 1})
    plain = one({key: PAYSIM[key] for key in PAYSIM if not key.startswith(("new", "is"))})
    assert told == plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (0, False), (True, True), ("0", False), ("true", True), (1.0, True), (None, None)],
)
@pytest.mark.parametrize("field", ["isFraud", "is_fraud"])
def test_a_label_in_the_message_is_split_off_and_arrives_later(field, value, expected):
    decoded = decode({**SIMPLE, field: value})
    assert [label.is_fraud for label in decoded.labels] == ([] if expected is None else [expected])
    for label in decoded.labels:
        assert label.arrives_at == decoded.transactions[0].event_time + HOUR
        assert label.transaction_id == decoded.transactions[0].transaction_id
        assert label.user_id == decoded.transactions[0].user_id


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "15000"}, {"amount": "1.5e4"}, {"timestamp": "2024-12-04T11:00:00"},
        {"timestamp": "2024-12-04T12:00:00+01:00"}, {"timestamp": "2024-12-04 11:00:00Z"}, {"timestamp": 1733310000},
        {"timestamp": 1733310000000}, {"timestamp": "1733310000"}, {"timestamp": "1733310000000"},
        {"timestamp": 1733310000.0}, {"merchant": None}, {"extra": {"nested": [1, 2]}}, {"userId": 12345},
        {"location": ""},
    ],
)  # fmt: skip
def test_what_is_meant_is_accepted(change):
    assert one({**SIMPLE, **change}) == one(SIMPLE)


def test_a_message_without_a_time_has_the_brokers():
    assert one({"userId": "1", "amount": 1}).event_time == NOON


@pytest.mark.parametrize("field", ["customer_id", "customerId", "user_id"])
def test_the_card_format_by_any_of_its_names(field):
    transaction = one({"transactionId": "t", field: "c1", "amount": 1, "merchant_id": "m"})
    assert (transaction.format, transaction.user_id) == ("card", "c1")
    assert (transaction.transaction_id, transaction.merchant_id) == ("t", "m")


REFUSED = [
    (b"", "not_json"),
    (b"{", "not_json"),
    (b"\xff\xfe", "not_json"),
    (b'{"userId": NaN}', "not_json"),
    (None, "not_json"),
    ([1], "not_an_object"),
    ("text", "not_an_object"),
    ({}, "unknown_format"),
    ({"user": "1"}, "unknown_format"),
    ({"userId": "1"}, "missing_field"),
    ({"userId": "", "amount": 1}, "missing_field"),
    ({"userId": None, "amount": 1}, "missing_field"),
    ({"userId": "1", "amount": ""}, "missing_field"),
    ({"nameOrig": "C1", "amount": 1}, "missing_field"),
    ({"userId": ["1"], "amount": 1}, "wrong_type"),
    ({"userId": 1.5, "amount": 1}, "wrong_type"),
    ({"userId": "1", "amount": "ten"}, "wrong_type"),
    ({"userId": "1", "amount": True}, "wrong_type"),
    ({"userId": "1", "amount": {}}, "wrong_type"),
    ({"userId": "1", "amount": 1, "merchant": {"id": 1}}, "wrong_type"),
    ({"userId": "1", "amount": 1, "latitude": 91}, "wrong_type"),
    ({"userId": "1", "amount": 1, "longitude": -180.5}, "wrong_type"),
    ({"userId": "1", "amount": 1, "isFraud": "perhaps"}, "wrong_type"),
    ({"userId": "1", "amount": 1, "isFraud": 2}, "wrong_type"),
    ({"userId": "1", "amount": 1, "is_fraud": [1]}, "wrong_type"),
    ({"userId": "1", "amount": "NaN"}, "amount_not_finite"),
    ({"userId": "1", "amount": "inf"}, "amount_not_finite"),
    ({"userId": "1", "amount": "1e999"}, "amount_not_finite"),
    ({"userId": "1", "amount": -0.01}, "amount_negative"),
    ({"userId": "1", "amount": 1e12}, "amount_absurd"),
    ({"userId": "1", "amount": 1, "timestamp": "yesterday"}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": "1969-12-31T23:59:59Z"}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": -5}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": "nan"}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": [1]}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": True}, "time_unreadable"),
    ({"nameOrig": "C1", "amount": 1, "step": -1}, "time_unreadable"),
    ({"userId": "1", "amount": 1, "timestamp": "2024-12-04T12:01:00.001Z"}, "time_in_future"),
    ({"nameOrig": "C1", "amount": 1, "step": 9999}, "time_in_future"),
    ({"userId": "x" * 257, "amount": 1}, "id_too_long"),
    ({"userId": "1", "amount": 1, "transactionId": "x" * 257}, "id_too_long"),
    ({"userId": "1", "amount": 1, "note": "x" * 1_000_000}, "message_too_large"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
def test_anything_else_is_a_dead_letter_with_its_bytes_and_its_reason(value, reason):
    letter = refused(value)
    assert letter.reason == reason
    assert (letter.topic, letter.partition, letter.offset, letter.key) == ("transactions", 3, 100, b"k")
    assert letter.value == (value if value is None or isinstance(value, bytes) else orjson.dumps(value))
    assert len(letter.error) < 500


def test_every_reason_occurs():
    assert {reason for _, reason in REFUSED} == set(REASONS)


def test_the_edge_of_the_clock_skew_is_accepted():
    assert one({**SIMPLE, "timestamp": "2024-12-04T12:01:00.000Z"}).event_time == NOON + 60_000


def test_a_bad_message_costs_its_neighbours_nothing():
    decoded = decode(SIMPLE, b"nonsense", CARD)
    assert [transaction.format for transaction in decoded.transactions] == ["simple", "card"]
    assert [letter.offset for letter in decoded.dead_letters] == [101]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)  # fmt: skip
FIELDS = st.sampled_from([*SIMPLE, *CARD, *PAYSIM, "is_fraud", "customerId", "user_id", "transactionId"])


@settings(deadline=None)
@given(st.binary(max_size=200) | st.dictionaries(FIELDS, JSON, max_size=8))
def test_whatever_comes_is_decoded_or_refused(value):
    decoded = decode(value)
    assert len(decoded.transactions) + len(decoded.dead_letters) == 1
    assert all(letter.reason in REASONS for letter in decoded.dead_letters)


def labels(*values):
    return Decoder(LIMITS).labels(batch(*values))


LABEL = {
    "transaction_id": "t1", "user_id": "u1", "is_fraud": True, "labelled_at": "2024-12-04T11:30:00Z",
    "source": "analyst", "merchant_id": "m1",
}  # fmt: skip


def test_a_label():
    (label,) = labels(LABEL).labels
    assert (label.transaction_id, label.user_id, label.is_fraud) == ("t1", "u1", True)
    assert (label.source, label.merchant_id, label.receiver_id) == ("analyst", "m1", None)
    assert iso(label.arrives_at) == "2024-12-04T11:30:00.000Z"


def test_a_label_without_a_time_has_the_brokers():
    (label,) = labels({key: value for key, value in LABEL.items() if key != "labelled_at"}).labels
    assert label.arrives_at == NOON


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"transaction_id": None}, "missing_field"),
        ({"user_id": None}, "missing_field"),
        ({"is_fraud": None}, "missing_field"),
        ({"is_fraud": "maybe"}, "wrong_type"),
        ({"labelled_at": "soon"}, "time_unreadable"),
        ({"labelled_at": "2024-12-05T00:00:00Z"}, "time_in_future"),
    ],
)
def test_a_bad_label_is_a_dead_letter(change, reason):
    decoded = labels({**LABEL, **change})
    assert [letter.reason for letter in decoded.dead_letters] == [reason]
    assert not decoded.labels


@given(st.integers(0, 253_402_300_799_999))
def test_times_survive_being_written_and_read(milliseconds):
    assert parse_time(iso(milliseconds)) == milliseconds
