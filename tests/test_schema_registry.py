"""Avro and JSON with a schema: read through confluent-kafka's own deserialisers, with the same dead letters."""

import json
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.foreign_schemas import SchemaRefused, check_avro, check_json_schema
from connectors.schema_registry import FramedReader, Registry, RegistryRefused, RegistryUnavailable, Unframed
from flows.framing import check_registry, decoder_of
from flows.settings import Settings, SettingsError
from operators.transactions.formats import FRAME_REASONS, Limits
from tests.integration.flow import pipeline
from tests.records import NOON, Batch
from tests.schemas import schema
from tests.servers.kafka import MockKafka
from tests.servers.registry import SchemaRegistry

CARD = {
    "type": "record",
    "name": "Card",
    "namespace": "bank",
    "fields": [
        {"name": "transaction_id", "type": "string"},
        {"name": "customer_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "country", "type": ["null", "string"], "default": None},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "channel", "type": {"type": "enum", "name": "Channel", "symbols": ["WEB", "SHOP"]}},
        {"name": "signature", "type": "bytes"},
        {"name": "terminal", "type": {"type": "fixed", "name": "Terminal", "size": 2}},
        {"name": "device", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    ],
}
MESSAGE = {
    "transaction_id": "x1",
    "customer_id": "c1",
    "amount": Decimal("15000.50"),
    "country": None,
    "timestamp": datetime(2024, 12, 4, 11, tzinfo=UTC),
    "channel": "WEB",
    "signature": b"\xff\x00",
    "terminal": b"ab",
    "device": UUID(int=7),
    "day": date(2024, 12, 4),
}
SIMPLE = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Simple",
    "type": "object",
    "properties": {"userId": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["userId", "amount"],
}
CONTEXT = SerializationContext("transactions", MessageField.VALUE)


def avro(registry: SchemaRegistry, **changes: Any) -> bytes:
    """A message as a producer's own serialiser makes it."""
    return AvroSerializer(SchemaRegistryClient({"url": registry.url}), json.dumps(CARD))(MESSAGE | changes, CONTEXT)


def framed_json(registry: SchemaRegistry, message: dict[str, Any]) -> bytes:
    return JSONSerializer(json.dumps(SIMPLE), SchemaRegistryClient({"url": registry.url}))(message, CONTEXT)


def reader(registry: SchemaRegistry, **options: Any) -> FramedReader:
    return FramedReader(Registry(registry.url), **options)


def refusal(made: FramedReader, value: bytes | None) -> tuple[str, str]:
    with pytest.raises(Unframed) as refused:
        made.to_json(value)
    assert refused.value.reason in FRAME_REASONS
    return refused.value.reason, str(refused.value)


def test_what_the_serialisers_of_producers_write_is_read() -> None:
    with SchemaRegistry() as registry:
        made = reader(registry)
        assert json.loads(made.to_json(avro(registry))) == {
            **MESSAGE,
            "amount": 15000.5,
            "timestamp": "2024-12-04T11:00:00+00:00",
            "signature": "ff00",
            "terminal": "6162",
            "device": "00000000-0000-0000-0000-000000000007",
            "day": "2024-12-04",
        }
        assert json.loads(made.to_json(framed_json(registry, {"userId": "u", "amount": 2}))) == {
            "userId": "u",
            "amount": 2,
        }
        before = len(registry.asked)
        for _ in range(5):
            made.to_json(avro(registry))
        assert [path for path in registry.asked[before:] if path.startswith("/schemas")] == []


def test_what_can_not_be_read_has_a_reason() -> None:
    with SchemaRegistry() as registry:
        made = reader(registry)
        good, other = avro(registry), framed_json(registry, {"userId": "u", "amount": 2})
        for value in (None, b"", b"\0", b'{"userId": "u", "amount": 1}', b"\1" + good[1:], good[:5]):
            assert refusal(made, value)[0] == "bad_magic_byte"
        assert refusal(made, b"\0\0\0\0\x63x") == (
            "schema_unknown",
            f"Schema Registry at {registry.url} has no schema 99",
        )
        for value in (good[:-3], good[:6], good[:5] + b"\xff" * 40, other[:5] + b"{", other[:5] + b'{"userId": 7}'):
            reason, said = refusal(made, value)
            assert (reason, "schema" in said) == ("not_decodable", True)
            assert "\n" not in said


def test_an_unknown_schema_is_not_asked_for_again_and_again() -> None:
    with SchemaRegistry() as registry:
        made = reader(registry)
        for _ in range(20):
            refusal(made, b"\0\0\0\0\x63x")
        assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ('syntax = "proto3";', "PROTOBUF", "is PROTOBUF: wanted AVRO or JSON"),
        (
            {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]},
            "AVRO",
            "'N' holds itself",
        ),
        ({"type": "array", "items": "null"}, "AVRO", "an array of what takes no bytes"),
        ("no schema", "AVRO", "can't be used"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "JSON", "refers to 'http://127.0.0.1:1/schema.json'"),
    ],
)
def test_a_schema_that_can_not_be_used_makes_dead_letters(given: Any, kind: str, said: str) -> None:
    with SchemaRegistry() as registry:
        number = registry.register(given, kind)
        reason, text = refusal(reader(registry), b"\0" + number.to_bytes(4, "big") + b"\2" * 50_000)
        assert reason == "not_decodable"
        assert said in text


NESTED = {"type": "record", "name": "A", "fields": [{"name": "b", "type": {"type": "array", "items": "b.A"}}]}


@pytest.mark.parametrize(
    "harmful",
    [
        {"type": "record", "name": "a.A", "fields": [{"name": "x", "type": {"type": "map", "values": "a.A"}}]},
        {**NESTED, "namespace": "b"},
        {"type": "array", "items": {"type": "record", "name": "E", "fields": []}},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
        {"type": "record", "name": "R", "fields": [
            {"name": "e", "type": {"type": "record", "name": "E", "fields": [{"name": "n", "type": "null"}]}},
            {"name": "many", "type": {"type": "array", "items": "E"}},
        ]},
        [{"type": "array", "items": {"type": "null"}}],
        7,
    ],
)  # fmt: skip
def test_schemas_that_would_let_a_message_end_the_process_are_refused(harmful: Any) -> None:
    with pytest.raises(SchemaRefused):
        check_avro(harmful)


def test_schemas_as_they_are_used_are_not_refused() -> None:
    check_avro(CARD)
    check_avro({"type": "record", "name": "R", "fields": [
        {"name": "a", "type": {"type": "record", "name": "P", "fields": [{"name": "x", "type": "int"}]}},
        {"name": "b", "type": "P"}, {"name": "c", "type": {"type": "array", "items": "P"}},
        {"name": "d", "type": ["null", {"type": "map", "values": "string"}]},
    ]})  # fmt: skip
    check_json_schema(SIMPLE)
    check_json_schema({"$defs": {"id": {"type": "string"}}, "properties": {"userId": {"$ref": "#/$defs/id"}}})


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 60), gone=st.integers(0, 5), instead=st.binary(max_size=6), kind=st.booleans())
def test_damaged_messages_are_read_or_refused(at: int, gone: int, instead: bytes, kind: bool) -> None:
    value = FRAMED[kind]
    at %= len(value)
    with suppress(Unframed):
        json.loads(SHARED.to_json(value[:at] + instead + value[at + gone :]))


@pytest.fixture(scope="module", autouse=True)
def _shared() -> Any:
    global FRAMED, SHARED  # noqa: PLW0603  hypothesis takes no fixtures that change
    with SchemaRegistry() as registry:
        FRAMED = avro(registry), framed_json(registry, {"userId": "u", "amount": 2})
        SHARED = reader(registry)
        yield


def test_a_registry_that_is_away_for_a_while_is_waited_for() -> None:
    with SchemaRegistry() as registry:
        value = avro(registry)
        registry.answers.extend([503, 500, 429])
        assert json.loads(reader(registry).to_json(value))["customer_id"] == "c1"


def test_a_registry_that_stays_away_is_no_dead_letter() -> None:
    with SchemaRegistry() as registry:
        value = avro(registry)
        registry.answers.extend([503] * 50)
        with pytest.raises(RegistryUnavailable, match=r"gave no answer for .* s, \d+ tries: 503"):
            reader(registry, deadline=0.5).to_json(value)
    with pytest.raises(RegistryUnavailable, match="gave no answer"):
        reader(registry, deadline=0.5).to_json(value)  # no one listens any more


def test_who_is_refused_is_told_at_the_start(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush-hush\n")
    with SchemaRegistry(user="flow", password="hush-hush") as registry:
        named = {"FRAUD_SCHEMA_REGISTRY_URL": registry.url, "FRAUD_SCHEMA_REGISTRY_USER": "flow"}
        good = Settings.load(named | {"FRAUD_SCHEMA_REGISTRY_PASSWORD_FILE": str(secret)}, env_file=None)
        check_registry(good)
        wrong = Settings.load(named | {"FRAUD_SCHEMA_REGISTRY_PASSWORD": "hush"}, env_file=None)
        with pytest.raises(RegistryRefused, match="refuses the user, 401 Unauthorized") as refused:
            check_registry(wrong)
    for text in (good.describe(), repr(good), str(refused.value), repr(Registry("http://r", "flow", "hush-hush"))):
        assert "hush" not in text


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"URL": "registry:8081"}, "FRAUD_SCHEMA_REGISTRY_URL is 'registry:8081': wanted http"),
        ({"URL": "http://flow:hush@r"}, "FRAUD_SCHEMA_REGISTRY_URL has a user or a password in it"),
        ({"TOPICS": "fraud-rules"}, "'fraud-rules' is no topic of transactions or labels"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(named: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({f"FRAUD_SCHEMA_REGISTRY_{name}": value for name, value in named.items()}, env_file=None)
    assert said in str(refused.value)
    assert "hush" not in str(refused.value)


def test_only_the_topics_that_are_named_are_framed_and_dead_letters_hold_what_came() -> None:
    with SchemaRegistry() as registry:
        good = avro(registry)
        bad_amount = avro(registry, amount=Decimal(-5))
        named = {"FRAUD_SCHEMA_REGISTRY_URL": registry.url, "FRAUD_SCHEMA_REGISTRY_TOPICS": "transactions"}
        decoder = decoder_of(Settings.load(named, env_file=None), Limits(max_message_bytes=500))
        values = [good, b"{}", bad_amount, None, b"\0" * 501, good]
        batch = Batch("transactions", 0, range(7, 13), [NOON] * 6, [b"k"] * 6, values)
        decoded = decoder.transactions(batch)
        assert [transaction.amount for transaction in decoded.transactions] == [15000.5] * 2
        assert [(letter.offset, letter.reason, letter.value) for letter in decoded.dead_letters] == [
            (8, "bad_magic_byte", b"{}"),
            (9, "amount_negative", bad_amount),
            (10, "bad_magic_byte", None),
            (11, "message_too_large", b"\0" * 501),
        ]
        label = b'{"transaction_id":"t","user_id":"u","is_fraud":true}'
        assert len(decoder.labels(Batch("fraud-labels", 0, [1], [NOON], [None], [label])).labels) == 1


def test_the_whole_flow_reads_both_kinds(mock_kafka: MockKafka) -> None:
    now = datetime.now(UTC)
    with SchemaRegistry() as registry:
        settings_of = {"SCHEMA_REGISTRY_URL": registry.url, "MODEL_FILE": "", "MAX_MESSAGE_BYTES": "5000"}
        with pipeline(mock_kafka, **settings_of) as flow:
            cards = [avro(registry, transaction_id=f"a{n}", timestamp=now, country="FR") for n in range(3)]
            flow.send(
                [
                    *cards,
                    framed_json(registry, {"userId": "u9", "amount": 20_000}),
                    b"{}",
                    b"\0\0\0\0\x63x",
                    cards[0][:-3],
                ]
            )
            flow.run()
            alerts = {alert["user_id"]: alert["rules"][0]["id"] for alert in flow.alerts()}
            letters = [dict(letter.headers() or [])["reason"].decode() for letter in flow.read("DLQ_TOPIC")]
            said = flow.log.read_text()
    assert alerts == {"c1": "high_card_amount", "u9": "high_amount"}
    assert sorted(letters) == sorted(FRAME_REASONS)
    assert f"by the schemas of {registry.url}" in said
    assert set(FRAME_REASONS) <= set(schema("dead-letter")["properties"]["reason"]["enum"])


def test_a_flow_whose_registry_is_away_says_so_and_starts_nothing(mock_kafka: MockKafka) -> None:
    began = time.monotonic()
    with pipeline(mock_kafka, SCHEMA_REGISTRY_URL="http://127.0.0.1:1") as flow:
        (process,) = flow.start()
        assert process.wait(60) == 75  # to be tried again
        assert "fraudflow cannot start yet: Schema Registry at http://127.0.0.1:1 gave no answer" in flow.output()
    assert time.monotonic() - began < 60
