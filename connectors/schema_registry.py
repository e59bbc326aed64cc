"""Messages framed for a Schema Registry (a zero byte, the schema's number in four, Avro or JSON) into plain JSON.

What it does on error: a message that its frame or its schema does not fit raises Unframed, with a reason. A registry
that does not answer, or refuses the user, is no fault of a message: it is asked again until the deadline, then
RegistryUnavailable stops the flow, and a restart reads the message again. Schemas are asked for once each. They are
trusted, but for what would let a message end the process, or this host ask another (`foreign_schemas`).
"""

import logging
import threading
from collections.abc import Callable
from decimal import Decimal
from time import monotonic, sleep
from typing import Any, NamedTuple

import orjson

from connectors.foreign_schemas import SchemaRefused, check_avro, check_json_schema

log = logging.getLogger(__name__)

PREFIX = 5
TIMEOUT_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
MOST_SCHEMAS = 1_000
MOST_UNKNOWN = 10_000
UNKNOWN_FOR_S = 30.0
"""So long a schema that the registry does not know is not asked for again: a message may name any number."""


WITHOUT_SUBJECT: dict[str, Any] = {"subject.name.strategy": lambda *_: None}
"""A message is read by the schema that it names, and no other: what is registered for its topic changes nothing."""


class RegistryUnavailable(RuntimeError):
    """The registry did not answer until the deadline."""


class RegistryRefused(RegistryUnavailable):
    """The registry refuses this user: asking again does not help."""


class Unframed(ValueError):
    """A message that can't be read: `reason` is `bad_magic_byte`, `schema_unknown` or `not_decodable`."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


class Registry(NamedTuple):
    """Where the registry is, and who asks. Printing it does not show the password."""

    url: str
    user: str = ""
    password: str = ""
    ca_location: str = ""

    def __repr__(self) -> str:
        return f"Schema Registry at {self.url}"


class FramedReader:
    """Reads framed messages. May be used by several threads; connects when the first message comes."""

    def __init__(self, registry: Registry, *, deadline: float = 60.0) -> None:
        """`deadline`: for how many seconds the registry is asked again before RegistryUnavailable."""
        self._registry = registry
        self._deadline = deadline
        self._lock = threading.Lock()
        self._client: Any = None
        self._readers: dict[int, Callable[[bytes], Any] | Unframed] = {}
        self._unknown: dict[int, tuple[float, Unframed]] = {}

    def check(self) -> None:
        """Whether the registry answers this user; for the start. Raises RegistryUnavailable."""
        with self._lock:
            self._ask(1)

    def to_json(self, value: bytes | None) -> bytes:
        """The message as JSON. Raises Unframed and RegistryUnavailable."""
        if value is None or len(value) <= PREFIX or value[0] != 0:
            began = (
                "no value" if value is None else f"{len(value)} bytes that begin with {value[:1].hex() or 'nothing'}"
            )
            raise Unframed(
                "bad_magic_byte", f"{began}: wanted 00, four bytes with the schema's number, and the content"
            )
        number = int.from_bytes(value[1:PREFIX], "big")
        reader = self._readers.get(number)
        if reader is None:
            with self._lock:
                reader = self._readers.get(number) or self._reader(number)
        if isinstance(reader, Unframed):
            raise Unframed(reader.reason, str(reader))
        try:
            return orjson.dumps(reader(value), default=_plain, option=orjson.OPT_NAIVE_UTC)
        except Exception as error:
            # Whatever a decoder makes of such bytes: the schema has been there before.
            raise Unframed("not_decodable", f"not what schema {number} says: {_words(error)}") from error

    def _reader(self, number: int) -> Callable[[bytes], Any] | Unframed:
        """What decodes messages of a schema. It is kept, also where it refuses them all."""
        now = monotonic()
        until, refusal = self._unknown.get(number, (0.0, None))
        if refusal is not None and now < until:
            return refusal
        schema = self._ask(number)
        if schema is None:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            refusal = Unframed("schema_unknown", f"{self._registry} has no schema {number}")
            self._unknown[number] = now + UNKNOWN_FOR_S, refusal
            return refusal
        reader = self._reader_of(number, schema)
        if len(self._readers) >= MOST_SCHEMAS:
            self._readers.clear()
        self._readers[number] = reader
        return reader

    def _reader_of(self, number: int, schema: Any) -> Callable[[bytes], Any] | Unframed:
        kind = schema.schema_type or "AVRO"
        if schema.references:
            return Unframed(
                "not_decodable", f"schema {number} refers to others: wanted one that holds all of its types"
            )
        try:
            if kind == "AVRO":
                from confluent_kafka.schema_registry.avro import AvroDeserializer

                check_avro(orjson.loads(schema.schema_str))
                avro: Callable[[bytes], Any] = AvroDeserializer(self._client, conf=WITHOUT_SUBJECT)
                return avro
            if kind == "JSON":
                from confluent_kafka.schema_registry.json_schema import JSONDeserializer

                check_json_schema(orjson.loads(schema.schema_str))
                read_json: Callable[[bytes], Any] = JSONDeserializer(
                    None, schema_registry_client=self._client, conf=WITHOUT_SUBJECT
                )
                return read_json
        except (SchemaRefused, ValueError) as error:
            return Unframed("not_decodable", f"schema {number} can't be used: {error}")
        return Unframed("not_decodable", f"schema {number} is {kind}: wanted AVRO or JSON")

    def _ask(self, number: int) -> Any:
        """The schema, or None where the registry has none of this number. Raises RegistryUnavailable."""
        from confluent_kafka.schema_registry.common._httpx_compat import httpx
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        began, tries = monotonic(), 0
        while True:
            try:
                return self._connected().get_schema(number)
            except SchemaRegistryError as error:
                if error.http_status_code == 404:
                    return None
                problem = f"{error.http_status_code} {error.error_message}"
                if error.http_status_code in (401, 403):
                    raise RegistryRefused(
                        f"{self._registry} refuses the user, {problem}: check FRAUD_SCHEMA_REGISTRY_USER and "
                        "FRAUD_SCHEMA_REGISTRY_PASSWORD"
                    ) from error
            except (httpx.HTTPError, OSError) as error:
                problem = _words(error)
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10))
            tries += 1
            if tries == 1:
                log.warning("%s: %s; asked again for %g s", self._registry, problem, self._deadline)
            if monotonic() + pause - began > self._deadline:
                raise RegistryUnavailable(
                    f"{self._registry} gave no answer for {monotonic() - began:.1f} s, {tries} tries: {problem}"
                )
            sleep(pause)

    def _connected(self) -> Any:
        if self._client is None:
            from confluent_kafka.schema_registry import SchemaRegistryClient

            registry = self._registry
            options: dict[str, Any] = {"url": registry.url, "timeout": TIMEOUT_S, "max.retries": 0}
            if registry.user:
                options["basic.auth.user.info"] = f"{registry.user}:{registry.password}"
            if registry.ca_location:
                options["ssl.ca.location"] = registry.ca_location
            self._client = SchemaRegistryClient(options)
        return self._client


def _plain(value: Any) -> Any:
    """Avro's decimals as numbers, its bytes in hexadecimal; times, dates and UUIDs orjson writes itself."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"a value of type {type(value).__name__}, which no field of a transaction has")


def _words(error: BaseException) -> str:
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
