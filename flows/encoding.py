"""Results as records for Kafka and as lines for InfluxDB."""

from collections.abc import Sequence

from connectors.influxdb import encode
from connectors.kafka_sink import Record
from operators.decisions import alerts
from operators.decisions.cooldown import Alert
from operators.measurements import Point
from operators.model.control import Control
from operators.model.events import ModelEvent
from operators.model.scoring import Weights
from operators.model.versions import given_up, version_key
from operators.rules import RuleEvent
from operators.transactions.records import DeadLetter

LARGEST = 1_000_000
"""Bytes of a dead letter; Kafka's own limit is a little above, for the headers and the key."""
LONGEST_KEY = 10_000


def alert_records(found: Sequence[Alert]) -> list[Record]:
    """Of `fraud-alerts`, keyed by user; the alert's id tells them apart."""
    return [
        Record(
            key=alert.decision.transaction.user_id.encode(),
            value=alerts.to_json(alert),
            identity=alerts.alert_id(alert.decision.transaction.transaction_id),
        )
        for alert in found
    ]


def alert_lines(found: Sequence[Alert]) -> list[bytes]:
    """Of the measurement `fraud_alert`."""
    return point_lines([alerts.to_point(alert) for alert in found])


def dead_letter_records(letters: Sequence[DeadLetter]) -> list[Record]:
    """Of the dead-letter topic: the message as it came, and in the headers why and from where.

    A message or a key that no topic with Kafka's own limits would take is cut, with a header that tells its size; the
    original is at its offset.
    """
    return [
        Record(letter.key and letter.key[:LONGEST_KEY], letter.value and letter.value[:LARGEST], _headers(letter))
        for letter in letters
    ]


def _headers(letter: DeadLetter) -> list[tuple[str, bytes]]:
    headers = {
        "reason": letter.reason,
        "error": letter.error,
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
    }
    if letter.value is not None and len(letter.value) > LARGEST:
        headers["cut_from_bytes"] = str(len(letter.value))
    if letter.key is not None and len(letter.key) > LONGEST_KEY:
        headers["key_cut_from_bytes"] = str(len(letter.key))
    return [(name, text.encode(errors="replace")) for name, text in headers.items()]


def model_records(published: Weights | Control) -> list[Record]:
    """Of `fraud-models`. Weights are there under the model's name, so that compaction keeps the newest, and as a kept
    version, in place of those that are given up for it. A command to roll back brings its weights under the name."""
    if isinstance(published, Control):
        brought = published.weights if published.action == "rollback" else None
        again = [Record(brought.name.encode(), brought.to_json())] if brought else []
        return [Record(published.key.encode(), published.to_json()), *again]
    name, record = published.name, published.to_json()
    gone = [Record(version_key(name, version).encode(), None) for version in given_up(published.version)]
    return [*gone, Record(version_key(name, published.version).encode(), record), Record(name.encode(), record)]


def event_records(event: ModelEvent | RuleEvent) -> list[Record]:
    """Of `fraud-model-events`, keyed by the model's name, or by that of the rule or list."""
    name = event.name if isinstance(event, RuleEvent) else event.model
    return [Record(name.encode(), event.to_json())]


def point_records(points: Sequence[Point]) -> list[Record]:
    """Of the statistics' topic, keyed by measurement."""
    return [Record(point.measurement.encode(), point.to_json()) for point in points]


def point_lines(points: Sequence[Point]) -> list[bytes]:
    """Points in InfluxDB's line protocol."""
    return [encode(point.measurement, point.tags, point.fields, point.time_ns) for point in points]
