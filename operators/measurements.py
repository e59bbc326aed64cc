"""What the flow measures of itself: the point that operators emit, and the schema that dashboards may rely on."""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from operators.times import iso

Value = float | int | str | bool


class Point(NamedTuple):
    """One measured row. Its identity is (measurement, tags, time_ns): the same on a replay, so a repeat overwrites."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value]
    time_ns: int

    def to_json(self) -> bytes:
        """The record of the statistics' topic; the time in ISO 8601 to the millisecond."""
        time = iso(self.time_ns // 1_000_000)
        return orjson.dumps({"measurement": self.measurement, "tags": self.tags, "fields": self.fields, "time": time})


class Measurement(NamedTuple):
    """The tags (few values each) and fields (name to type) of one measurement."""

    tags: tuple[str, ...]
    fields: Mapping[str, type]


MEASUREMENTS: Mapping[str, Measurement] = {
    # One point an alert; `rule` is the most severe rule that hit, or "model" where only the score did. `late` and
    # `warming_up` are there only where there is something to tell.
    "fraud_alert": Measurement(
        ("rule", "severity", "decision", "format"),
        {
            "alert_id": str,
            "transaction_id": str,
            "user_id": str,
            "merchant_id": str,
            "country": str,
            "amount": float,
            "currency": str,
            "risk_score": float,
            "rules": str,
            "reasons": str,
            "suppressed_count": int,
            "latency_ms": float,
            "late": bool,
            "warming_up": str,
        },
    ),
    # The last 30 seconds, one point a second, on the broker's timestamps.
    "live_stats": Measurement(
        (), {"count": int, "frauds": int, "amount": float, "fraud_amount": float, "fraud_share": float}
    ),
    # One point a second and rule that hit.
    "rule_hits": Measurement(("rule", "severity"), {"hits": int}),
    # One point a second; `rejected` on points tagged with a dead letter's reason, the others on the point without.
    "pipeline": Measurement(
        ("reason",),
        {
            "transactions": int,
            "alerts": int,
            "dead_letters": int,
            "late": int,
            "repeated": int,
            "latency_p50_ms": float,
            "latency_p99_ms": float,
            "latency_max_ms": float,
            "event_lag_s": float,
            "rejected": int,
        },
    ),
    # Prequential quality on mature labels, each time the trainer publishes.
    "model_quality": Measurement(
        ("model",),
        {
            "version": int,
            "examples": int,
            "frauds": int,
            "frauds_waiting": int,
            "frauds_dropped": int,
            "roc_auc": float,
            "average_precision": float,
            "log_loss": float,
            "brier": float,
            "precision": float,
            "recall": float,
            "precision_block": float,
            "recall_block": float,
            "precision_at_capacity": float,
            "relative_log_loss": float,
            "calibration_error": float,
            "mean_score": float,
            "fraud_rate": float,
        },
    ),
    # What happened to a model but for its publications: drift, freezing, rolling back, promotion (`ModelEvent`).
    "model_event": Measurement(("model", "event"), {"version": int, "message": str, "by": str}),
    # A challenger against the champion on the same examples: by how much its log-loss is lower, and at least.
    "model_comparison": Measurement(
        ("model", "champion"), {"gain": float, "gain_at_least": float, "examples": int, "frauds": int}
    ),
    # The detectors' statistic each time the trainer publishes; `drift` is 1 where one was found. `psi:<feature>` and
    # `ks:<feature>`, once a window of examples: the distance of each feature, and of `score`, from its reference.
    "model_drift": Measurement(("model", "detector"), {"value": float, "drift": int, "examples": int}),
}
