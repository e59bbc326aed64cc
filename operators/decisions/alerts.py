"""The alert as Kafka and InfluxDB get it, with an identity that is the same on every replay."""

from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from operators.decisions.cooldown import Alert
from operators.decisions.decide import Decision
from operators.measurements import Point
from operators.rules import SEVERITIES
from operators.times import iso
from operators.transactions.records import Transaction

NANOSECONDS = 1_000_000


def alert_id(transaction_id: str) -> str:
    """32 hexadecimal digits that depend on the transaction's id alone."""
    return blake2b(transaction_id.encode(), digest_size=16).hexdigest()


def to_json(alert: Alert) -> bytes:
    """The record of `fraud-alerts`."""
    decision, transaction = alert.decision, alert.decision.transaction
    record = {
        "alert_id": alert_id(transaction.transaction_id),
        "transaction_id": transaction.transaction_id,
        "user_id": transaction.user_id,
        "event_time": iso(transaction.event_time),
        "detected_at": iso(decision.detected_at),
        "amount": transaction.amount,
        "currency": transaction.currency,
        "decision": decision.verdict,
        "severity": decision.severity,
        "risk_score": decision.score,
        "model": None if decision.model is None else msgspec.structs.asdict(decision.model),
        "rules": [
            {
                "id": hit.id,
                "version": hit.version,
                "severity": hit.severity,
                "message": hit.message,
                "evidence": hit.evidence,
                "warming_up": hit.warming_up,
            }
            for hit in decision.hits
        ],
        "reasons": [
            {"feature": reason.feature, "value": reason.value, "contribution": reason.contribution}
            for reason in decision.reasons
        ],
        "suppressed_count": alert.suppressed_count,
        "late": decision.late,
        "warming_up": decision.warming_up,
        "transaction": transaction_record(transaction),
    }
    return orjson.dumps(record)


def transaction_record(transaction: Transaction) -> dict[str, Any]:
    """The normalised transaction, times in ISO 8601, what it did not hold as null."""
    record = msgspec.structs.asdict(transaction)
    record["event_time"] = iso(transaction.event_time)
    record["arrived_at"] = iso(transaction.arrived_at)
    return record


def to_point(alert: Alert) -> Point:
    """The point of `fraud_alert`. Its time is the event's, moved within its millisecond by a hash of the alert's id,
    so that alerts of the same millisecond and tags keep apart."""
    decision, transaction = alert.decision, alert.decision.transaction
    identity = alert_id(transaction.transaction_id)
    fields: dict[str, Any] = {
        "alert_id": identity,
        "transaction_id": transaction.transaction_id,
        "user_id": transaction.user_id,
        "merchant_id": transaction.merchant_id,
        "country": transaction.country,
        "amount": transaction.amount,
        "currency": transaction.currency,
        "risk_score": decision.score,
        "rules": ", ".join(hit.id for hit in decision.hits),
        "reasons": "; ".join(f"{reason.feature} {reason.contribution:+.2f}" for reason in decision.reasons[:3]),
        "suppressed_count": alert.suppressed_count,
        "latency_ms": float(max(0, decision.detected_at - transaction.arrived_at)),
    }
    if decision.late:
        fields["late"] = True
    if decision.warming_up:
        fields["warming_up"] = ", ".join(decision.warming_up)
    tags = {
        "rule": first_rule(decision),
        "severity": decision.severity,
        "decision": decision.verdict,
        "format": transaction.format,
    }
    offset = int(identity[:12], 16) % NANOSECONDS
    known = {name: value for name, value in fields.items() if value is not None}
    return Point("fraud_alert", tags, known, transaction.event_time * NANOSECONDS + offset)


def first_rule(decision: Decision) -> str:
    """The most severe rule that hit (the first of equals), or `model`."""
    if not decision.hits:
        return "model"
    return max(decision.hits, key=lambda hit: SEVERITIES.index(hit.severity)).id
