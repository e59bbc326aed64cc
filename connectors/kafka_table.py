"""What a compacted topic holds, read to its end at once: how a flow knows at its start what is in force.

What it does on error: a broker that does not answer in time raises KafkaUnavailable. Bytes are never looked at.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka import TIMEOUT_S, Complaints, cluster_metadata, unavailable
from connectors.kafka_source import RawBatch, raw_batch

MOST = 5000
"""Messages taken from the client at once."""


class Held(NamedTuple):
    """The messages of topics, partition by partition, and the offset that comes next in each."""

    batches: Sequence[RawBatch]
    ends: Mapping[tuple[str, int], int]


def read_to_end(config: Mapping[str, str], topics: Sequence[str], *, timeout: float = TIMEOUT_S) -> Held:
    """Every message that `topics` hold now, in order of their offsets. Raises KafkaUnavailable.

    `timeout` is how many seconds may pass without an answer.
    """
    complaints = Complaints("kafka table")
    consumer = Consumer(
        {
            "fetch.wait.max.ms": 20,
            **config,
            "group.id": "fraudflow-start",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "error_cb": complaints,
        }
    )
    try:
        metadata = cluster_metadata(consumer, config, complaints, timeout)
        places = [TopicPartition(topic, number) for topic in topics for number in metadata.topics[topic].partitions]
        batches, ends = [], {}
        for place in places:
            low, high = consumer.get_watermark_offsets(place, timeout=timeout)
            messages = (
                _read(consumer, TopicPartition(place.topic, place.partition, low), high, timeout) if high > low else []
            )
            if messages:
                batches.append(raw_batch(place.topic, place.partition, messages))
            ends[place.topic, place.partition] = high
        return Held(batches, ends)
    except (KafkaException, TimeoutError) as error:
        raise unavailable(config, timeout, complaints) from error
    finally:
        consumer.close()


def _read(consumer: Consumer, begin: TopicPartition, end: int, timeout: float) -> list[Message]:
    """The messages of one partition before `end`."""
    consumer.assign([begin])
    found: list[Message] = []
    deadline = monotonic() + timeout
    while True:
        for message in consumer.consume(MOST, 0.1):
            deadline = monotonic() + timeout
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return found
            if error is not None:
                continue  # the client tries again by itself; what lasts ends in the time-out
            if (message.offset() or 0) >= end:
                return found
            found.append(message)
            if message.offset() == end - 1:
                return found
        if monotonic() > deadline:
            raise TimeoutError
