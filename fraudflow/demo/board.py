"""The latest figures, folded from the topics as the flow writes them."""

import threading
import time
from collections import Counter, deque
from typing import Any

import orjson
from confluent_kafka import Message

from flows.settings import Settings
from fraudflow.demo.records import Alert, Measured, header, is_newest, read_alert, read_measured
from fraudflow.demo.topics import Topics

LATENCIES = 20  # seconds for which an alert's latency counts
KEPT_ALERTS = 500
SAME_RULES = 3  # alerts with the same rules that are shown at once


class Board:
    """What the picture shows. Bounded: it holds the latest of everything. `add` and the readers may be two threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.received = 0
        self.alerts = 0
        self.latest: deque[Alert] = deque(maxlen=KEPT_ALERTS)
        self.dead: Counter[str] = Counter()
        self.window: dict[str, Any] = {}
        self.quality: dict[str, Any] = {}
        self.model_version: int | None = None
        self.drifts = 0
        self.event: str | None = None
        self._window_time = 0
        self._seconds: dict[int, dict[str, Any]] = {}
        self._latency: deque[tuple[float, int]] = deque()
        self.late = 0

    def add(self, message: Message) -> None:
        topic, settings = message.topic(), self._settings
        with self._lock:
            self.received += 1
            if topic == settings.alert_topic:
                self._alert(read_alert(message))
            elif topic == settings.dlq_topic:
                self.dead[header(message, "reason")] += 1
            elif topic == settings.stats_topic:
                self._measured(read_measured(message))
            elif topic == settings.model_topic and is_newest(message):
                self.model_version = orjson.loads(message.value() or b"{}").get("version")
            elif topic == settings.model_event_topic:
                self._event(orjson.loads(message.value() or b"{}"))

    def rates(self) -> tuple[int, int]:
        """Transactions and alerts in the latest whole second that the flow has told of."""
        with self._lock:
            seconds = sorted(self._seconds)
            if not seconds:
                return 0, 0
            fields = self._seconds[seconds[-2] if len(seconds) > 1 else seconds[-1]]
        return int(fields.get("transactions", 0)), int(fields.get("alerts", 0))

    def latency(self) -> tuple[int, int] | None:
        """p50 and p99 of the alerts of the last seconds, in milliseconds."""
        with self._lock:
            oldest = time.monotonic() - LATENCIES
            while self._latency and self._latency[0][0] < oldest:
                self._latency.popleft()
            values = sorted(value for _, value in self._latency)
        if not values:
            return None
        return values[len(values) // 2], values[min(len(values) - 1, int(len(values) * 0.99))]

    def newest_alerts(self, most: int) -> list[tuple[Alert, int]]:
        """The newest first, and how many each stands for: of those with the same rules the last that is shown stands
        for all that are older, so that the many do not hide the few."""
        with self._lock:
            latest = list(self.latest)
        same: dict[tuple[str, ...], list[list[Any]]] = {}
        shown = []
        for alert in reversed(latest):
            rows = same.setdefault(alert.rules, [])
            if len(rows) == SAME_RULES:
                rows[-1][1] += 1
            else:
                rows.append([alert, 1])
                shown.append(rows[-1])
        return [(alert, count) for alert, count in shown[:most]]

    def _alert(self, alert: Alert) -> None:
        self.alerts += 1
        self.latest.append(alert)
        self._latency.append((time.monotonic(), alert.latency))

    def _measured(self, measured: Measured) -> None:
        if measured.measurement == "live_stats" and measured.time >= self._window_time:
            self._window_time, self.window = measured.time, dict(measured.fields)
        elif measured.measurement == "pipeline" and not measured.tags.get("reason"):
            self.late += int(measured.fields.get("late", 0)) - int(self._seconds.get(measured.time, {}).get("late", 0))
            self._seconds[measured.time] = dict(measured.fields)
            for old in sorted(self._seconds)[:-60]:
                del self._seconds[old]
        elif measured.measurement == "model_quality":
            self.quality = dict(measured.fields)

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "drift":
            self.drifts += 1
        if event.get("event") != "published":
            self.event = str(event.get("message") or event.get("detector") or event.get("event"))


class Watch(threading.Thread):
    """Keeps a board up to date from the topics that the flow writes."""

    def __init__(self, board: Board, settings: Settings) -> None:
        super().__init__(name="watch", daemon=True)
        self.board = board
        self.error: Exception | None = None
        self._ended = threading.Event()
        topics = (
            settings.alert_topic,
            settings.stats_topic,
            settings.dlq_topic,
            settings.model_topic,
            settings.model_event_topic,
        )
        self._topics = Topics(settings.kafka_config(), topics)

    def end(self) -> None:
        self._ended.set()
        self.join(timeout=10)

    def run(self) -> None:
        try:
            self._topics.follow()
            while not self._ended.is_set():
                for message in self._topics.take(0.1):
                    self.board.add(message)
        except Exception as error:  # noqa: BLE001 - told by whoever shows the board
            self.error = error
        finally:
            self._topics.close()
