"""Records into Kafka, each acknowledged by its delivery report before the epoch it belongs to is closed.

What it does on error: a record that could not be delivered within `delivery_timeout` (an unreachable broker, a missing
topic, no permission, too large) raises DeliveryError and so stops the flow, at the latest before the snapshot of its
epoch is taken: a restart reads the epoch's input again. Nothing is given up silently. On a replay records repeat:
at least once, so they carry an identity of their own.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka import Complaints, bootstrap, missing_message, without_consumer_options

log = logging.getLogger(__name__)

PARTS = 8
"""Parts of a sink. Their names are in the recovery store, so this number stays."""


class Record(NamedTuple):
    """One record to write: a key (None: any partition), a value (None: a tombstone), headers, and what tells it from
    others where it must not be written twice."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None
    identity: str | None = None


def part_names() -> list[str]:
    """The parts of any sink into Kafka."""
    return [f"{number:02d}" for number in range(PARTS)]


def part_of(item_key: str) -> int:
    """Which part an item goes to, up to a multiple of their number: the same on every worker and in every run."""
    return crc32(item_key.encode())


class DeliveryError(RuntimeError):
    """Records that Kafka did not take: the message names the topics and the reasons."""


class SharedProducer:
    """One idempotent producer for all sinks of a process; connects when the first sink is built.

    `produce` and `flush` may be called from several threads. Memory: at most 128 MB of records wait for the broker.
    """

    def __init__(self, config: Mapping[str, str], *, delivery_timeout: float = 30.0) -> None:
        self._config = config
        self._timeout = delivery_timeout
        self._lock = threading.Lock()
        self._complaints = Complaints("kafka producer")
        self._producer: Producer | None = None
        self._failed: dict[tuple[str, str], int] = {}
        self._absent: set[str] = set()
        self.delivered = 0

    def open(self) -> None:
        """Connect, unless that has been done: an idempotent producer needs half a second before its first record."""
        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "linger.ms": 1,
            "compression.type": "lz4",
            "queue.buffering.max.kbytes": 131_072,
            # The topic's own limit decides; a dead letter is as large as what came in, and headers.
            "message.max.bytes": 10_485_760,
            **without_consumer_options(self._config),
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(self._timeout * 1000),
            "error_cb": self._complaints,
        }

    def produce(
        self, topic: str, records: Iterable[Record], delivered: Callable[[Message], None] | None = None
    ) -> None:
        """Hand records to the client, in order; waits while its queue is full. Raises DeliveryError of earlier ones.

        `delivered` is told each record that the broker has, on a later call of `produce` or `flush`.
        """
        producer = self._open_producer()
        for record in records:
            self._produce_one(producer, topic, record, delivered)
        producer.poll(0)
        self.check()

    def _open_producer(self) -> Producer:
        self.open()
        assert self._producer is not None
        return self._producer

    def _produce_one(
        self, producer: Producer, topic: str, record: Record, delivered: Callable[[Message], None] | None
    ) -> None:
        def report(error: KafkaError | None, message: Message) -> None:
            self._on_delivery(error, message)
            if error is None and delivered is not None:
                delivered(message)

        on_delivery = self._on_delivery if delivered is None else report
        while True:
            try:
                # The stub asks for a list of a wider type than ours, which lists do not allow.
                headers: Any = record.headers
                producer.produce(topic, record.value, record.key, on_delivery=on_delivery, headers=headers)
                return
            except BufferError:
                # Bounded: each record in the queue is delivered or has failed within the delivery timeout.
                producer.poll(0.1)
                self.check()
            except KafkaException as failure:
                error: KafkaError = failure.args[0]
                self._fail(topic, error)
                self.check()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self._fail(message.topic() or "?", error)

    def _fail(self, topic: str, error: KafkaError) -> None:
        if error.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART):
            self._absent.add(topic)
        reason = (topic, error.str())
        self._failed[reason] = self._failed.get(reason, 0) + 1

    def flush(self) -> None:
        """Wait until every record so far is acknowledged. Raises DeliveryError where one was not."""
        producer = self._producer
        if producer is None:
            return
        deadline = time.monotonic() + self._timeout + 5.0
        while len(producer) and time.monotonic() < deadline and not self._failed:
            producer.flush(1.0)
        producer.poll(0)
        self.check()
        if len(producer):
            raise DeliveryError(f"{len(producer)} records got no answer{self._where()}. {_STOPS}")

    def check(self) -> None:
        """Raise DeliveryError if the delivery of any record has failed."""
        if not self._failed:
            return
        parts = [f"{count} to {topic}: {reason}" for (topic, reason), count in self._failed.items()]
        absent = f" {missing_message(sorted(self._absent), self._config)}." if self._absent else ""
        raise DeliveryError(f"records not delivered, {'; '.join(parts)}{self._where()}.{absent} {_STOPS}")

    def _where(self) -> str:
        why = self._complaints.why()
        return f" (Kafka at {bootstrap(self._config)}{': ' + why if why else ''})"


_STOPS = "The flow stops so that nothing is lost: started again with its recovery directory it repeats what is missing"


class _KafkaSinkPart(StatefulSinkPartition[list[Record], None]):
    def __init__(self, producer: SharedProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        producer.open()

    def write_batch(self, values: list[list[Record]]) -> None:
        for records in values:
            self._producer.produce(self._topic, records)

    def snapshot(self) -> None:
        self._producer.flush()

    # No `close`: at a good end the last snapshot has flushed. The engine closes parts in a crash too, where waiting
    # helps nobody (a restart repeats the epoch) and an exception would abort the process, its message unprinted.


class KafkaSink(FixedPartitionedSink[list[Record], None]):
    """Writes items `(key, records)` to one topic. Records of one item key keep their order, also on a retry.

    The item's key only chooses the worker that writes; a record's own key chooses the Kafka partition (crc32).
    """

    def __init__(self, producer: SharedProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    def list_parts(self) -> list[str]:
        """The same parts on every worker; the engine spreads them."""
        return part_names()

    def part_fn(self, item_key: str) -> int:
        """The same on every worker and in every run."""
        return part_of(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _KafkaSinkPart:
        """A part holds nothing between epochs: what was written before is acknowledged."""
        return _KafkaSinkPart(self._producer, self._topic)
