"""The flow's records as the demo reads them: what the pictures and the summary need of each."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from operators.times import parse_time


class Reason(NamedTuple):
    """What moved the score, and by how much (in logits)."""

    feature: str
    value: object
    contribution: float


class Alert(NamedTuple):
    """One record of `fraud-alerts`. Times in milliseconds; `latency` from the transaction's arrival at the broker to
    the alert's."""

    transaction_id: str
    user_id: str
    format: str
    event_time: int
    amount: float
    currency: str
    decision: str
    severity: str
    risk_score: float | None
    rules: tuple[str, ...]
    messages: tuple[str, ...]
    reasons: tuple[Reason, ...]
    arrived_at: int
    latency: int


class Measured(NamedTuple):
    """One record of `fraud-stats`. `time` in milliseconds."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Any]
    time: int


def is_newest(message: Message) -> bool:
    """Whether a message of the models' topic holds a model's newest weights: no kept version, no command."""
    key = message.key() or b""
    return bool(message.value()) and b"@" not in key and b"/" not in key


def read_alert(message: Message) -> Alert:
    record = orjson.loads(message.value() or b"")
    transaction = record["transaction"]
    arrived = parse_time(transaction["arrived_at"])
    return Alert(
        transaction_id=record["transaction_id"],
        user_id=record["user_id"],
        format=transaction["format"],
        event_time=parse_time(record["event_time"]),
        amount=record["amount"],
        currency=record["currency"] or "",
        decision=record["decision"],
        severity=record["severity"],
        risk_score=record["risk_score"],
        rules=tuple(rule["id"] for rule in record["rules"]),
        messages=tuple(rule["message"] for rule in record["rules"]),
        reasons=tuple(Reason(**reason) for reason in record["reasons"][:5]),
        arrived_at=arrived,
        latency=max(0, message.timestamp()[1] - arrived),
    )


def read_measured(message: Message) -> Measured:
    record = orjson.loads(message.value() or b"")
    return Measured(record["measurement"], record["tags"], record["fields"], parse_time(record["time"]))


def header(message: Message, name: str) -> str:
    """A header's text; empty where there is none."""
    value = dict(message.headers() or ()).get(name)
    return value.decode() if isinstance(value, bytes) else str(value or "")


def value_text(value: object) -> str:
    """A feature's value, short."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def feature_text(feature: str) -> str:
    """A feature's name, with the large numbers of its bin written short."""
    return re.sub(r"\b\d+000\b", lambda match: _thousands(int(match[0])), feature)


def _thousands(number: int) -> str:
    for size, unit in ((1_000_000, "m"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return str(number)


def money(amount: float) -> str:
    """An amount in at most seven characters."""
    for size, unit in ((1e9, " bn"), (1e6, " m"), (1e4, " k")):
        if amount >= size:
            shown = amount / (1e3 if unit == " k" else size)
            return f"{shown:,.{0 if shown >= 100 else 1}f}{unit}"
    return f"{amount:,.2f}"
