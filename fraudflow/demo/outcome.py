"""What happened, read back from the topics after the flow has ended: nothing here is remembered from the run."""

from collections import Counter
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from flows.settings import Settings
from fraudflow.demo.records import Alert, Measured, header, is_newest, read_alert, read_measured
from fraudflow.demo.topics import Topics
from fraudflow.simulation.stream import SOURCE

PAYSIM_FRAUD = "paysim"


class Event(NamedTuple):
    """One record of `fraud-model-events`."""

    event: str
    at: str
    message: str


class Fraud(NamedTuple):
    """A transaction that is known to be fraud, by the label inside it or on the label topic."""

    scenario: str
    caught_by: str
    """`rules`, `both` (the score alone would have done), `model`, or empty: missed."""


class Outcome:
    """The topics, folded into what the summary and the report say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.messages = 0
        self.labels = 0
        self.formats: Counter[str] = Counter()
        self.scenarios: dict[str, str] = {}
        self.alerts: list[Alert] = []
        self.repeated = 0
        self.dead: Counter[str] = Counter()
        self.dead_labels = 0
        self.measured: list[Measured] = []
        self.events: list[Event] = []
        self.model: dict[str, Any] = {}
        self.lost = 0
        self._seen: set[str] = set()

    def add(self, message: Message) -> None:
        topic, settings = message.topic(), self._settings
        if topic in settings.transaction_topics:
            self._transaction(message)
        elif topic == settings.label_topic:
            self._label(message)
        elif topic == settings.alert_topic:
            self._alert(read_alert(message))
        elif topic == settings.dlq_topic:
            self.dead[header(message, "reason")] += 1
            self.dead_labels += header(message, "topic") == settings.label_topic
        elif topic == settings.stats_topic:
            self.measured.append(read_measured(message))
        elif topic == settings.model_event_topic:
            event = orjson.loads(message.value() or b"{}")
            self.events.append(Event(event.get("event", ""), event.get("at", ""), event.get("message") or ""))
        elif topic == settings.model_topic and is_newest(message):
            self.model = orjson.loads(message.value() or b"{}")

    @property
    def transactions(self) -> int:
        """Those that could be used."""
        return self.messages - (self.dead.total() - self.dead_labels)

    @property
    def rules(self) -> Counter[str]:
        """Alerts by rule: an alert counts for each rule in it, one by the score alone for `model only`."""
        return Counter(rule for alert in self.alerts for rule in alert.rules or ("model only",))

    @property
    def drifts(self) -> list[Event]:
        return [event for event in self.events if event.event == "drift"]

    def frauds(self) -> list[Fraud]:
        """Every known fraud, and what found it."""
        by_id = {alert.transaction_id: alert for alert in self.alerts}
        return [
            Fraud(scenario, self.caught_by(by_id[identity]) if identity in by_id else "")
            for identity, scenario in self.scenarios.items()
        ]

    def caught_by(self, alert: Alert) -> str:
        if not alert.rules:
            return "model"
        by_score = alert.risk_score is not None and alert.risk_score >= self._settings.review_threshold
        return "both" if by_score else "rules"

    def is_fraud(self, alert: Alert) -> bool:
        return alert.transaction_id in self.scenarios

    def _transaction(self, message: Message) -> None:
        self.messages += 1
        try:
            record = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            return
        if not isinstance(record, dict):
            return
        self.formats["paysim" if "nameOrig" in record else "simple" if "userId" in record else "card"] += 1
        if record.get("isFraud"):
            self.scenarios[f"{message.topic()}-{message.partition()}-{message.offset()}"] = PAYSIM_FRAUD

    def _label(self, message: Message) -> None:
        self.labels += 1
        try:
            label = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            return
        if label.get("is_fraud") is True and "transaction_id" in label:
            self.scenarios[label["transaction_id"]] = label["source"].removeprefix(f"{SOURCE}:")

    def _alert(self, alert: Alert) -> None:
        if alert.transaction_id in self._seen:
            self.repeated += 1
            return
        self._seen.add(alert.transaction_id)
        self.alerts.append(alert)


def read_back(settings: Settings) -> Outcome:
    """All topics from their starts to their ends. Raises TimeoutError where the broker does not give them."""
    names = (
        *settings.transaction_topics,
        settings.label_topic,
        settings.alert_topic,
        settings.dlq_topic,
        settings.stats_topic,
        settings.model_topic,
        settings.model_event_topic,
    )
    topics = Topics(settings.kafka_config(), names)
    outcome = Outcome(settings)
    try:
        for message in topics.to_the_end():
            outcome.add(message)
        outcome.lost = topics.gone()
    finally:
        topics.close()
    outcome.alerts.sort(key=lambda alert: alert.arrived_at)
    outcome.measured.sort(key=lambda measured: measured.time)
    outcome.events.sort(key=lambda event: event.at)
    return outcome
