"""Messages to Kafka at a given pace, each one's delivery report checked."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka import (
    Complaints,
    KafkaUnavailable,
    cluster_metadata,
    options_refused,
    unavailable,
    without_consumer_options,
)

# Enough for 100,000 messages/s: full batches, and room for a second of them while the broker is busy.
DEFAULTS = {
    "linger.ms": "5",
    "batch.num.messages": "20000",
    "queue.buffering.max.messages": "500000",
    "delivery.timeout.ms": "15000",
    "acks": "all",
    "log_level": "0",
}


class DeliveryFailed(RuntimeError):
    """The broker did not take a message, or can't be reached; says which and why."""


class Sender:
    """A producer that counts what was delivered and does not go on past a failure.

    Not for use by several threads at once.
    """

    def __init__(self, config: Mapping[str, str], **overrides: str) -> None:
        """Raises DeliveryFailed for options that the client does not know."""
        given = without_consumer_options(config)
        self._config = {**DEFAULTS, **given, **{key.replace("_", "."): v for key, v in overrides.items()}}
        self._complaints = Complaints("kafka producer")
        self.servers = self._config.get("bootstrap.servers", "")
        self.delivered = 0
        self._failure: str | None = None
        settings: dict[str, Any] = {**self._config, "error_cb": self._complaints}
        try:
            self._producer = Producer(settings)
        except KafkaException as failure:
            raise DeliveryFailed(str(options_refused(failure))) from None

    def connect(self, *topics: str, timeout: float = 10.0) -> None:
        """Raises DeliveryFailed where no broker answers or a topic is missing. (The embedded broker makes them.)"""
        try:
            cluster_metadata(self._producer, self._config, self._complaints, timeout)
            absent = [topic for topic in topics if not self._has(topic, timeout)]
        except KafkaUnavailable as error:
            raise DeliveryFailed(str(error)) from None
        except KafkaException:
            raise DeliveryFailed(str(unavailable(self._config, timeout, self._complaints))) from None
        if absent:
            raise DeliveryFailed(
                f"Kafka at {self.servers} has no topic {', '.join(absent)}: python -m fraudflow topics create makes it"
            )

    def _has(self, topic: str, timeout: float) -> bool:
        """A broker that makes topics when they are asked for needs to be asked again."""
        for _ in range(5):
            if self._producer.list_topics(topic, timeout=timeout).topics[topic].error is None:
                return True
            time.sleep(0.3)
        return False

    def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Hands over one message; raises DeliveryFailed where an earlier one was not taken."""
        while True:
            if self._failure:
                raise DeliveryFailed(self._failure)
            try:
                self._producer.produce(topic, value, key, on_delivery=self._report)
            except BufferError:
                self._producer.poll(0.05)
                continue
            except KafkaException as error:
                raise DeliveryFailed(f"{topic}: {error.args[0].str()}") from None
            return

    def poll(self, seconds: float = 0.0) -> None:
        """Takes in delivery reports for at most so long."""
        self._producer.poll(seconds)
        if self._failure:
            raise DeliveryFailed(self._failure)

    def flush(self, timeout: float = 30.0) -> None:
        """Waits until everything is delivered; raises DeliveryFailed where it is not."""
        left = self._producer.flush(timeout)
        if self._failure:
            raise DeliveryFailed(self._failure)
        if left:
            raise DeliveryFailed(f"{left} messages were not taken by {self.servers} within {timeout:g} s")

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered += 1
        elif self._failure is None:
            self._failure = f"a message to {message.topic()} was not delivered: {error.str()}"


class Pace:
    """Open loop: message n is due n / rate seconds after the start, however long the ones before it took."""

    def __init__(self, sender: Sender, rate: float) -> None:
        self.sender = sender
        self.rate = rate
        self.begin = time.perf_counter()

    def wait(self, number: int) -> None:
        """Returns when message `number` is due, at once where that has passed. Takes in delivery reports meanwhile."""
        self.wait_until(self.begin + number / self.rate)

    def wait_until(self, due: float) -> None:
        while True:
            ahead = due - time.perf_counter()
            # Sleeps shorter than a millisecond are not kept by the operating system: send a few at once instead.
            if ahead < 0.001:
                return
            self.sender.poll()
            time.sleep(min(ahead, 0.05))
