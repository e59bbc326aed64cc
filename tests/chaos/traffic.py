"""Steady traffic of which each alert is known, and what became of it."""

import threading
import time
from collections import Counter
from typing import NamedTuple
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.integration.flow import Pipeline

EVERY = 5
"""One message in so many is suspicious."""

RULES = """
[[rule]]
id = "high_amount"
when = "amount > 10_000 and count_1h >= 1 and sum_amount_24h > 0 and distinct_location_5m < 2"
"""
"""Fires at these and no others, and keeps windows of every user."""


class Outcome(NamedTuple):
    """What became of the alerts; `late` is the longest time from sending a message to having its alert, in seconds."""

    expected: int
    lost: int
    repeated: int
    late: float


class Traffic:
    """Sends `rate` messages a second, waits through outages, and receives alerts as any consumer does."""

    def __init__(self, flow: Pipeline, rate: float, half_by_one: bool = False) -> None:
        self._flow = flow
        self._name = uuid4().hex[:6]
        self._rate = rate
        self._half_by_one = half_by_one
        self._sent: dict[str, float] = {}
        self._received: Counter[str] = Counter()
        self._late = 0.0
        self._stop = threading.Event()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        # Never given up: what is in the queue is sent once the broker is back.
        producer = Producer(
            {
                "bootstrap.servers": self._flow.kafka.bootstrap,
                "message.timeout.ms": 0,
                "enable.idempotence": True,
                "log_level": 0,
                "linger.ms": 2,
            }
        )
        topic, number, begin = self._flow.topics["TRANSACTION_TOPICS"], 0, time.monotonic()
        while not self._stop.is_set():
            user = "busy" if self._half_by_one and number % 2 else f"u{number % 997}"
            suspicious = number % EVERY == 0
            transaction = f"{self._name}-{number}"
            message = {"userId": user, "amount": 15_000 if suspicious else 10, "transaction_id": transaction}
            if suspicious:
                self._sent[transaction] = time.monotonic()
            producer.produce(topic, orjson.dumps(message), user.encode())
            producer.poll(0)
            number += 1
            self._stop.wait(max(0.0, begin + number / self._rate - time.monotonic()))
        producer.flush(60)

    def _receive(self) -> None:
        consumer = Consumer({"bootstrap.servers": self._flow.kafka.bootstrap, "group.id": "chaos", "log_level": 0})
        consumer.assign([TopicPartition(self._flow.topics["ALERT_TOPIC"], number, 0) for number in range(4)])
        while not self._end.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    transaction = orjson.loads(message.value() or b"{}")["transaction_id"]
                    if transaction.startswith(self._name):
                        self._take(transaction)
        consumer.close()

    def _take(self, transaction: str) -> None:
        if not self._received[transaction]:
            self._late = max(self._late, time.monotonic() - self._sent[transaction])
        self._received[transaction] += 1

    def finish(self, patience: float = 120.0) -> Outcome:
        """Stop sending, wait for the alerts that are missing, and then for those that should not come."""
        self._stop.set()
        self._threads[0].join()
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and len(self._received) < len(self._sent):
            time.sleep(0.2)
        time.sleep(2)
        self._end.set()
        self._threads[1].join()
        lost = len(self._sent.keys() - self._received.keys())
        repeated = sum(self._received.values()) - len(self._received)
        return Outcome(len(self._sent), lost, repeated, self._late)
