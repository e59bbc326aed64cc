"""Messages framed for a Schema Registry, by schemas with all that Avro and JSON Schema have."""

import json
import uuid
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from io import BytesIO

from fastavro import parse_schema, schemaless_writer

from connectors.schema_registry import FramedReader, Registry, Unframed
from operators.transactions.formats import FRAME_REASONS
from tests.fuzz.targets import target
from tests.servers.registry import SchemaRegistry

AVRO = {
    "type": "record",
    "name": "All",
    "fields": [
        {"name": "customer_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "country", "type": ["null", "string", "long", "double", "boolean"]},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "micros", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "more", "type": {"type": "map", "values": ["float", {"type": "array", "items": "int"}]}},
    ],
}
JSON = {
    "type": "object",
    "properties": {
        "userId": {"type": "string", "minLength": 1, "pattern": "^[a-z0-9]+$"},
        "amount": {"type": "number", "minimum": 0, "multipleOf": 0.01},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "required": ["userId"],
    "anyOf": [{"required": ["amount"]}, {"required": ["tags"]}],
    "$defs": {"tag": {"type": ["string", "object"], "maxLength": 5}},
}


def avro() -> bytes:
    """A message of the first schema, without its frame."""
    content = BytesIO()
    message = {
        "customer_id": "u1", "amount": Decimal("1.50"), "country": "FR", "timestamp": datetime(2024, 12, 4, tzinfo=UTC),
        "day": date(2024, 12, 4), "micros": time(11), "id": uuid.UUID(int=7), "kind": "B", "code": b"ab", "tags": ["a"],
        "more": {"a": 1.5, "b": [1, 2]},
    }  # fmt: skip
    schemaless_writer(content, parse_schema(AVRO), message)
    return content.getvalue()


@cache
def reader() -> FramedReader:
    """Of a registry that lives as long as this process."""
    registry = SchemaRegistry().__enter__()
    registry.register(AVRO)
    registry.register(JSON, "JSON")
    return FramedReader(Registry(registry.url), deadline=1.0)


@target(
    b"\0\0\0\0\1" + avro(),
    b'\0\0\0\0\2{"userId":"u1","amount":1.5,"tags":["a","b",{}]}',
    b"\0\0\0\0\3x",
)
def framed(data: bytes) -> None:
    """A framed message is JSON, or refused for a reason. Its schema is one of two, or unknown."""
    with suppress(Unframed):
        json.loads(reader().to_json(data[:4] + bytes([data[4] % 4]) + data[5:] if len(data) > 5 else data))
    try:
        reader().to_json(data[:5])
    except Unframed as error:
        reason = error.reason
    assert reason in FRAME_REASONS
