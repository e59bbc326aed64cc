"""Every setting of the system: environment variables with the prefix `FRAUD_`, or a file `.env`."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from operators.durations import parse_duration
from operators.times import iso, parse_time

PREFIX = "FRAUD_"
KAFKA_PREFIX = "FRAUD_KAFKA_CONFIG_"
SECRET_OPTIONS = ("password", "passphrase", "secret", "key", "token", "jaas", "credential", "assertion", "user.info")
NO_SECRETS = (".location", ".url", ".method", ".mechanism")
"""How options end that tell where something is, and never what."""
OPTIONS_OF_FILES = (
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
)
"""Options of librdkafka that name a file by themselves."""
LARGEST_SECRET = 100_000
CREDENTIALS = re.compile(r"//[^/]*@")


class SettingsError(ValueError):
    """Settings that can't be used; the text names each one, what is wrong and what is wanted."""


def _topics(value: object) -> object:
    if isinstance(value, str):
        return tuple(topic.strip() for topic in value.split(",") if topic.strip())
    return value


def _not_empty(topics: tuple[str, ...]) -> tuple[str, ...]:
    if not topics:
        raise ValueError("at least one topic is wanted")
    if len(set(topics)) < len(topics):
        raise ValueError("a topic is named twice")
    return topics


def _milliseconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _moment(value: object) -> object:
    return parse_time(value) if isinstance(value, str) else value


def _places(value: object) -> object:
    """`transactions/3/1234`, with commas between."""
    if not isinstance(value, str):
        return value
    places = []
    for text in filter(None, map(str.strip, value.split(","))):
        topic, *numbers = text.rsplit("/", 2)
        if not topic or len(numbers) != 2 or not all(n.isascii() and n.isdigit() for n in numbers):
            raise ValueError(f"{text!r} is not topic/partition/offset, such as transactions/3/1234")
        places.append((topic, int(numbers[0]), int(numbers[1])))
    return tuple(places)


Duration = Annotated[int, BeforeValidator(_milliseconds), Field(ge=0)]
"""Milliseconds; written `45s`, `5m`, `24h`, `7d`."""
Moment = Annotated[int, BeforeValidator(_moment)]
"""Milliseconds since the epoch; written in ISO 8601."""
Topics = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_topics), AfterValidator(_not_empty)]
Places = Annotated[tuple[tuple[str, int, int], ...], NoDecode, BeforeValidator(_places)]
"""Messages: topic, partition, offset."""
Probability = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseSettings):
    """All settings, checked and frozen. `Settings.load()` reads them; tests construct them by name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    kafka_bootstrap_servers: str = "localhost:9092"
    kafka_group: str = "fraudflow"
    kafka_options: dict[str, SecretStr] = Field(default_factory=dict)

    transaction_topics: Topics = ("transactions",)
    label_topic: str = "fraud-labels"
    rule_topic: str = "fraud-rules"
    list_topic: str = "fraud-lists"
    model_topic: str = "fraud-models"
    alert_topic: str = "fraud-alerts"
    model_event_topic: str = "fraud-model-events"
    stats_topic: str = "fraud-stats"
    dlq_topic: str = "transactions-dlq"

    schema_registry_url: str = ""
    schema_registry_user: str = ""
    schema_registry_password: SecretStr = SecretStr("")
    schema_registry_ca_location: str = ""
    schema_registry_topics: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_topics)] = ()

    start_from: Literal["earliest", "latest"] = "earliest"
    stop_at_end: bool = False
    lost_offsets: Literal["stop", "oldest"] = "stop"
    delivery_timeout: Duration = 60_000
    skip_messages: Places = ()

    rules_file: Path = Path("rules.toml")
    model_file: Path | None = Path("model.toml")
    review_threshold: Probability = 0.5
    block_threshold: Probability = 0.9
    label_delay: Duration = parse_duration("7d")
    label_maturity: Duration = parse_duration("30d")
    max_pending_labels: Annotated[int, Field(ge=1)] = 1_000_000

    allowed_lateness: Duration = parse_duration("1h")
    key_groups: Annotated[int, Field(ge=1, le=4096)] = 64
    shards: Annotated[int, Field(ge=1, le=256)] = 8
    paysim_start: Moment = parse_time("2026-01-01T00:00:00Z")
    max_clock_skew: Duration = parse_duration("5m")
    max_amount: Annotated[float, Field(gt=0, le=1e9)] = 1e9
    max_id_length: Annotated[int, Field(ge=1, le=4096)] = 256
    max_message_bytes: Annotated[int, Field(ge=1, le=100_000_000)] = 1_000_000

    influx_url: str = ""
    influx_token: SecretStr = SecretStr("")
    influx_org: str = "fraud-detection-org"
    influx_bucket: str = "fraud-detection-bucket"
    influx_spool_bytes: Annotated[int, Field(ge=1_000_000)] = 1_000_000_000

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `load` alone reads the environment, so a test never does by accident."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _no_empty_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("model_file") == "":
            return {**values, "model_file": None}
        return values

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.review_threshold > self.block_threshold:
            raise ValueError("FRAUD_REVIEW_THRESHOLD is above FRAUD_BLOCK_THRESHOLD")
        topics = [
            *self.transaction_topics,
            *(getattr(self, name) for name in type(self).model_fields if name.endswith("_topic")),
        ]
        doubled = sorted({topic for topic in topics if topics.count(topic) > 1})
        if doubled:
            raise ValueError(f"topic {doubled[0]!r} is named by two settings: what one step writes another would read")
        _check_url("FRAUD_INFLUX_URL", self.influx_url, "FRAUD_INFLUX_TOKEN")
        _check_url("FRAUD_SCHEMA_REGISTRY_URL", self.schema_registry_url, "FRAUD_SCHEMA_REGISTRY_PASSWORD")
        strange = set(self.schema_registry_topics) - {*self.transaction_topics, self.label_topic}
        if strange:
            raise ValueError(f"FRAUD_SCHEMA_REGISTRY_TOPICS: {min(strange)!r} is no topic of transactions or labels")
        if self.label_delay > self.label_maturity:
            raise ValueError("FRAUD_LABEL_DELAY is longer than FRAUD_LABEL_MATURITY: every label would come too late")
        return self

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> "Settings":
        """Read the environment, and `.env` for what it does not name. Raises SettingsError.

        `FRAUD_KAFKA_CONFIG_SASL_USERNAME` becomes librdkafka's `sasl.username` (two underscores stand for one).
        A secret can be given as a file: `FRAUD_INFLUX_TOKEN_FILE`, `FRAUD_KAFKA_CONFIG_SASL_PASSWORD_FILE`. The
        environment wins over `.env`, whichever of the two ways each takes.
        """
        values: dict[str, Any] = {"kafka_options": {}}
        if env_file:
            _take({name: text for name, text in dotenv_values(env_file).items() if text is not None}, values)
        _take(os.environ if environment is None else environment, values)
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError("\n".join(_explain(detail) for detail in error.errors())) from error

    @property
    def framed_topics(self) -> tuple[str, ...]:
        """The topics whose messages are framed for the Schema Registry: those named, else the transactions'."""
        return self.schema_registry_topics or self.transaction_topics

    def kafka_config(self) -> dict[str, str]:
        """The librdkafka options for every client."""
        options = {name: value.get_secret_value() for name, value in self.kafka_options.items()}
        return {"bootstrap.servers": self.kafka_bootstrap_servers, **options}

    def describe(self) -> str:
        """Every setting as a line `FRAUD_NAME=value`, secrets masked."""
        lines = [f"{PREFIX}{field.upper()}={_shown(field, value)}" for field, value in self if field != "kafka_options"]
        for option, secret in self.kafka_options.items():
            shown = "****" if _is_secret(option) else secret.get_secret_value()
            lines.append(f"{KAFKA_PREFIX}{option.upper().replace('_', '__').replace('.', '_')}={shown}")
        return "\n".join(lines)


def _check_url(name: str, url: str, instead: str) -> None:
    if url and not url.startswith(("http://", "https://")):
        host = url.rpartition("@")[2]
        raise ValueError(f"{name} is {host!r}: wanted http://… or https://…")
    if CREDENTIALS.search(url):
        raise ValueError(f"{name} has a user or a password in it, which logs would show: use {instead}")


def known_names() -> tuple[str, ...]:
    """The environment name of every setting; a secret has a second one, for a file that holds it."""
    fields = [field for field in Settings.model_fields if field != "kafka_options"]
    return (*(f"{PREFIX}{field.upper()}" for field in fields), *secret_files())


def secret_files() -> tuple[str, ...]:
    """The environment names that take a secret from a file; any Kafka option has one too."""
    fields = Settings.model_fields.items()
    return tuple(f"{PREFIX}{name.upper()}_FILE" for name, field in fields if field.annotation is SecretStr)


def _is_secret(option: str) -> bool:
    return any(word in option for word in SECRET_OPTIONS) and not option.endswith(NO_SECRETS)


def _shown(field: str, value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(one if isinstance(one, str) else "/".join(map(str, one)) for one in value)
        case SecretStr():
            return "****" if value.get_secret_value() else ""
        case bool():
            return str(value).lower()
    readers = {part.func for part in Settings.model_fields[field].metadata if isinstance(part, BeforeValidator)}
    if _milliseconds in readers:
        return f"{value}ms"
    return iso(int(str(value))) if _moment in readers else str(value)


def _take(named: Mapping[str, str], values: dict[str, Any]) -> None:
    """Add the settings among `named` to `values`. Raises SettingsError."""
    given: dict[str, str] = {}
    for name, text in sorted(named.items()):
        if name.startswith(KAFKA_PREFIX):
            option = name.removeprefix(KAFKA_PREFIX).lower().replace("__", "\0").replace("_", ".").replace("\0", "_")
            if option.endswith(".file") and option not in OPTIONS_OF_FILES:
                option, text = option.removesuffix(".file"), _secret(name, text)
            place, key = values["kafka_options"], option
        elif name.startswith(PREFIX):
            if name not in known_names():
                nearest = difflib.get_close_matches(name, known_names(), n=3)
                hint = f": did you mean {' or '.join(nearest)}?" if nearest else ""
                raise SettingsError(f"{name} is not a setting{hint}")
            key = name.removeprefix(PREFIX).lower()
            if name in secret_files():
                key, text = key.removesuffix("_file"), _secret(name, text)
            place = values
        else:
            continue
        if key in given:
            raise SettingsError(f"{given[key]} and {name} both give the same: keep one of them")
        given[key] = name
        place[key] = text


def _secret(name: str, path: str) -> str:
    """What the file holds, without white space at its ends. Raises SettingsError, which never shows what it holds."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_SECRET + 1)
        text = content.decode().strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{name}: {path}: {why or error}") from None
    if not text or len(content) > LARGEST_SECRET:
        why = f"more than {LARGEST_SECRET} bytes" if text else "empty"
        raise SettingsError(f"{name}: {path}: the file is {why}: wanted a secret in it")
    return text


def _explain(detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return str(message)
    name = str(detail["loc"][0])
    field = Settings.model_fields.get(name)
    hidden = field is None or field.annotation in (SecretStr, dict[str, SecretStr])
    got = "" if hidden else f" (got {detail['input']!r:.80})"
    return f"{PREFIX}{name.upper()}: {message}{got}"
