"""What tests do to a topic with plain clients: write numbered messages, read everything."""

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.servers.kafka import Cluster

EPOCH_MS = 1_700_000_000_000


def config(kafka: Cluster) -> dict[str, str]:
    """Client settings for the cluster."""
    return {"bootstrap.servers": kafka.bootstrap, "log_level": "0"}


def produce_numbers(kafka: Cluster, topic: str, numbers: range, partition: int | None = None) -> None:
    """One message per number, in partition `number % 4` unless one is given; the key tells it, the timestamp counts."""
    producer = Producer({**config(kafka), "linger.ms": 1})
    for number in numbers:
        target = number % 4 if partition is None else partition
        producer.produce(topic, b"%d" % number, b"p%d" % target, partition=target, timestamp=EPOCH_MS + number)
    assert producer.flush(20) == 0


def read_topic(kafka: Cluster, topic: str) -> list[Message]:
    """Every message that the topic holds, partition by partition, as a plain consumer sees it."""
    consumer = Consumer({**config(kafka), "group.id": "tests", "enable.partition.eof": True})
    places = [
        TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    consumer.assign(places)
    messages, ends = [], 0
    while ends < len(places):
        message = consumer.poll(10)
        assert message is not None, "the broker went quiet"
        if message.error() is None:
            messages.append(message)
        else:
            ends += 1
    consumer.close()
    return sorted(messages, key=lambda message: (message.partition() or 0, message.offset() or 0))


def committed(kafka: Cluster, group: str, topic: str) -> dict[int, int]:
    """The offsets that lag tools see, of the partitions that have one."""
    consumer = Consumer({**config(kafka), "group.id": group})
    places = consumer.committed([TopicPartition(topic, number) for number in range(4)], timeout=10)
    consumer.close()
    return {place.partition: place.offset for place in places if place.offset >= 0}
