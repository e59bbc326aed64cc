"""What the sink promises, on the embedded cluster and on a real broker."""

import random
import time
from uuid import uuid4

import bytewax.operators as op
import bytewax.testing
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource

from connectors.kafka import TopicSpec, create_topics, missing_topics
from connectors.kafka_sink import DeliveryError, KafkaSink, Record, SharedProducer
from tests.servers.clients import config, read_topic
from tests.servers.kafka import Cluster, Kafka, MockKafka
from tests.servers.process import free_ports


def run(producer: SharedProducer, topic: str, items: list[tuple[str, list[Record]]]) -> None:
    flow = Dataflow("test")
    op.output("out", op.input("in", flow, TestingSource(items)), KafkaSink(producer, topic))
    main: object = bytewax.testing.run_main
    assert callable(main)
    main(flow)


def test_writes_keys_values_headers_and_tombstones_in_order(kafka: Cluster, topic: str) -> None:
    headers = [("reason", b"not_json"), ("offset", b"7")]
    items = [(f"group {n % 5}", [Record(b"user %d" % (n % 5), b"%d" % n, headers)]) for n in range(500)]
    items.append(("group 0", [Record(b"user 0", None), Record(None, b"without key")]))
    producer = SharedProducer(config(kafka))
    run(producer, topic, items)
    messages = read_topic(kafka, topic)
    assert len(messages) == producer.delivered == 502
    for user in range(5):
        of_user = [message.value() for message in messages if message.key() == b"user %d" % user]
        assert of_user[:100] == [b"%d" % number for number in range(user, 500, 5)]
    assert all(message.headers() == headers for message in messages if message.value() and message.key())
    assert [m.value() for m in messages if m.key() is None] == [b"without key"]
    assert sum(message.value() is None for message in messages) == 1


def test_a_snapshot_returns_only_when_all_is_acknowledged(kafka: Cluster, topic: str) -> None:
    producer = SharedProducer(config(kafka))
    part = KafkaSink(producer, topic).build_part("out", "00", None)
    part.write_batch([[Record(b"k", b"%d" % number)] for number in range(1_000)])
    part.snapshot()
    assert producer.delivered == 1_000
    assert len(read_topic(kafka, topic)) == 1_000
    part.close()


def test_more_than_the_queue_holds_waits_for_room(kafka: Cluster, topic: str) -> None:
    producer = SharedProducer({**config(kafka), "queue.buffering.max.messages": "100", "linger.ms": "20"})
    part = KafkaSink(producer, topic).build_part("out", "00", None)
    part.write_batch([[Record(b"k", b"%d" % number) for number in range(2_000)]])
    part.snapshot()
    assert producer.delivered == 2_000


def test_sinks_share_one_producer(kafka: Cluster, topic: str) -> None:
    other = f"other-{uuid4().hex[:8]}"
    kafka.create_topic(other)
    producer = SharedProducer(config(kafka))
    parts = [KafkaSink(producer, name).build_part("out", "00", None) for name in (topic, other)]
    for part in parts:
        part.write_batch([[Record(None, b"v")]])
    parts[0].snapshot()  # acknowledges all of the process
    assert producer.delivered == 2


def test_an_unreachable_broker_stops_the_flow_with_topic_and_reason() -> None:
    (port,) = free_ports(1)
    settings = {"bootstrap.servers": f"127.0.0.1:{port}", "log_level": "0"}
    part = KafkaSink(SharedProducer(settings, delivery_timeout=1.0), "alerts").build_part("out", "00", None)
    part.write_batch([[Record(b"k", b"v")]])
    with pytest.raises(DeliveryError, match=r"1 to alerts: .*timed out.*refused.*recovery directory"):
        part.snapshot()


def test_a_broker_that_dies_stops_the_flow_in_the_engine() -> None:
    cluster = MockKafka()
    cluster.create_topic("alerts")
    producer = SharedProducer(config(cluster), delivery_timeout=1.0)
    producer.open()
    producer.produce("alerts", [Record(b"k", b"1")])
    producer.flush()
    cluster.close()
    with pytest.raises(BaseException) as failure:  # noqa: PT011  the engine wraps ours in one of its own
        run(producer, "alerts", [("k", [Record(b"k", b"2")])])
    causes: list[str] = []
    cause: BaseException | None = failure.value
    while cause is not None:
        causes.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    assert any(text.startswith("DeliveryError: records not delivered, 1 to alerts") for text in causes), causes


def test_an_earlier_failure_is_raised_by_the_next_write() -> None:
    cluster = MockKafka()
    cluster.create_topic("alerts")
    producer = SharedProducer(config(cluster), delivery_timeout=1.0)
    part = KafkaSink(producer, "alerts").build_part("out", "00", None)
    cluster.close()
    part.write_batch([[Record(b"k", b"v")]])
    time.sleep(2.5)
    with pytest.raises(DeliveryError, match="to alerts"):
        part.write_batch([[Record(b"k", b"v")]])


def test_missing_topics_are_listed_in_order_and_not_made(kafka: Cluster, topic: str) -> None:
    assert missing_topics(config(kafka), ["b", topic, "a"]) == ["b", "a"]
    assert missing_topics(config(kafka), ["b", topic, "a"]) == ["b", "a"]


@pytest.mark.servers
def test_a_missing_topic_is_named_with_what_to_do(real_kafka: Kafka) -> None:
    settings = {**config(real_kafka), "topic.metadata.propagation.max.ms": "500"}
    part = KafkaSink(SharedProducer(settings, delivery_timeout=3.0), "nowhere").build_part("out", "00", None)
    part.write_batch([[Record(b"k", b"v")]])
    with pytest.raises(DeliveryError, match=r"1 to nowhere: .*python -m fraudflow topics create"):
        part.snapshot()


@pytest.mark.servers
def test_a_record_too_large_for_the_topic_stops_the_flow(real_kafka: Kafka) -> None:
    topic = f"small-{uuid4().hex[:8]}"
    real_kafka.create_topic(topic, max_message_bytes="10000")
    part = KafkaSink(SharedProducer(config(real_kafka)), topic).build_part("out", "00", None)
    part.write_batch([[Record(b"k", random.Random(1).randbytes(20_000))]])  # that no compression makes small
    with pytest.raises(DeliveryError, match=rf"1 to {topic}: .*too large"):
        part.snapshot()


@pytest.mark.servers
def test_records_wait_for_a_broker_that_comes_back(own_kafka: Kafka) -> None:
    own_kafka.create_topic("alerts")
    producer = SharedProducer(config(own_kafka))
    part = KafkaSink(producer, "alerts").build_part("out", "00", None)
    part.write_batch([[Record(b"k", b"%d" % number) for number in range(100)]])
    part.snapshot()
    own_kafka.kill()
    part.write_batch([[Record(b"k", b"%d" % number) for number in range(100, 200)]])
    own_kafka.start()
    part.snapshot()
    assert [message.value() for message in read_topic(own_kafka, "alerts")] == [b"%d" % n for n in range(200)]


@pytest.mark.servers
def test_topics_are_made_as_specified_and_only_once(real_kafka: Kafka) -> None:
    names = [f"{kind}-{uuid4().hex[:8]}" for kind in ("plain", "compacted", "large")]
    specs = [
        TopicSpec(names[0], partitions=6),
        TopicSpec(names[1], compacted=True),
        TopicSpec(names[2], max_message_bytes=5_000_000),
    ]
    settings = config(real_kafka)
    assert create_topics(settings, specs[:1]) == names[:1]
    assert create_topics(settings, specs) == names[1:]
    assert create_topics(settings, specs) == []
    assert missing_topics(settings, names) == []
    assert len(real_kafka.admin().list_topics(timeout=5).topics[names[0]].partitions) == 6
    assert real_kafka.topic_setting(names[1], "cleanup.policy") == "compact"
    assert real_kafka.topic_setting(names[2], "max.message.bytes") == "5000000"
