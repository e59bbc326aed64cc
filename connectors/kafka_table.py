"""What a compacted topic holds, read to its end at once: how a flow knows at its start what is in force.

What it does on error: a broker that does not answer in time raises KafkaUnavailable. Bytes are never looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka import TIMEOUT_S, Complaints, cluster_metadata, options_refused, unavailable
from connectors.kafka_source import RawBatch, raw_batch

MOST = 5000
"""Messages taken from the client at once."""


_PASSING = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
)


class Held(NamedTuple):
    """The messages of topics, partition by partition, and the offset that comes next in each."""

    batches: Sequence[RawBatch]
    ends: Mapping[tuple[str, int], int]


def read_to_end(config: Mapping[str, str], topics: Sequence[str], *, timeout: float = TIMEOUT_S) -> Held:
    """Every message that `topics` hold now, in order of their offsets. Raises KafkaUnavailable.

    `timeout` is how many seconds may pass without an answer.
    """
    held = messages_to_end(config, topics, timeout=timeout)
    batches = [raw_batch(*place, messages) for place, (messages, _) in held.items() if messages]
    return Held(batches, {place: end for place, (_, end) in held.items()})


def messages_to_end(
    config: Mapping[str, str],
    topics: Sequence[str],
    *,
    begin: Mapping[tuple[str, int], int] | None = None,
    timeout: float = TIMEOUT_S,
) -> dict[tuple[str, int], tuple[list[Message], int]]:
    """By partition: its messages from the offset `begin` on (without one from its oldest), and where it ends now."""
    held: dict[tuple[str, int], tuple[list[Message], int]] = {}
    with _reader(config, topics, timeout) as (consumer, watermarks):
        for place, (low, high) in watermarks.items():
            first = max(low, (begin or {}).get(place, low))
            read = _read(consumer, TopicPartition(*place, first), high, timeout) if high > first else []
            held[place] = read, high
    return held


def ends(config: Mapping[str, str], topic: str, *, timeout: float = TIMEOUT_S) -> dict[int, int]:
    """The offset that comes next in each partition of `topic`. Raises KafkaUnavailable."""
    with _reader(config, [topic], timeout) as (_, watermarks):
        return {partition: high for (_, partition), (_, high) in watermarks.items()}


@contextmanager
def _reader(
    config: Mapping[str, str], topics: Sequence[str], timeout: float
) -> Iterator[tuple[Consumer, dict[tuple[str, int], tuple[int, int]]]]:
    """A consumer, and the oldest offset and the end of each partition."""
    complaints = Complaints("kafka table")
    settings: dict[str, Any] = {
        "fetch.wait.max.ms": 20,
        **config,
        "group.id": "fraudflow-start",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "error_cb": complaints,
    }
    try:
        consumer = Consumer(settings)
    except KafkaException as failure:
        raise options_refused(failure) from failure
    try:
        metadata = cluster_metadata(consumer, config, complaints, timeout)
        places = [(topic, number) for topic in topics for number in metadata.topics[topic].partitions]
        yield consumer, {place: _watermarks(consumer, place, timeout) for place in places}
    except (KafkaException, TimeoutError) as error:
        raise unavailable(config, timeout, complaints) from error
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, place: tuple[str, int], timeout: float) -> tuple[int, int]:
    """The oldest offset and the end of a partition; a topic that was just made may have no leader for a moment."""
    deadline = monotonic() + timeout
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(*place), timeout=timeout)
            if found is not None:
                return found
        except KafkaException as failure:
            if failure.args[0].code() not in _PASSING or monotonic() > deadline:
                raise
        if monotonic() > deadline:
            raise TimeoutError
        sleep(0.05)


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
