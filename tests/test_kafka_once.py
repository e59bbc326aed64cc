"""Records once each: after crashes at any moment, also while catching up after one."""

import random
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main
from confluent_kafka import Producer

from connectors.kafka_once import OnceSink, start_offsets
from connectors.kafka_sink import Record, SharedProducer
from tests.servers.clients import config, read_topic
from tests.servers.kafka import Cluster


def record(number: int) -> Record:
    return Record(b"%d" % (number % 7), b"%d" % number, [("kind", b"test")], f"id-{number}")


class Numbers(FixedPartitionedSource[int, int]):
    """The numbers below `count`, some at a time, from the offset in its snapshot; crashes before each of `crashes`,
    once for each time it is in there."""

    def __init__(self, count: int, crashes: list[int] | None = None, batch: int = 1) -> None:
        self.count = count
        self.crashes = crashes or []
        self.batch = batch

    def list_parts(self) -> list[str]:
        return ["numbers"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "NumbersPart":
        return NumbersPart(self, resume_state or 0)


class NumbersPart(StatefulSourcePartition[int, int]):
    def __init__(self, source: Numbers, begin: int) -> None:
        self.source = source
        self.next = begin

    def next_batch(self) -> list[int]:
        first, last = self.next, min(self.next + self.source.batch, self.source.count)
        for number in range(first, last):
            if number in self.source.crashes:
                self.source.crashes.remove(number)
                raise AbortExecution
        if first == last:
            raise StopIteration
        self.next = last
        return list(range(first, last))

    def snapshot(self) -> int:
        return self.next


def run(kafka: Cluster, topic: str, directory: Path, source: Numbers, epoch_ms: int = 0) -> None:
    """Items (key, [record]) into the topic, with recovery, until the source ends or crashes."""
    flow = Dataflow("once")
    items = op.input("in", flow, source)
    keyed = op.map("key", items, lambda number: (f"s{number % 5}", [record(number)]))
    producer = SharedProducer(config(kafka))
    op.output("out", keyed, OnceSink(producer, topic, config(kafka), directory))
    run_main(
        flow,
        epoch_interval=timedelta(milliseconds=epoch_ms),
        recovery_config=RecoveryConfig(str(directory), backup_interval=timedelta(0)),
    )
    producer.flush()  # a crash here leaves the client alive; one that is dead sends nothing later


def values(kafka: Cluster, topic: str) -> list[int]:
    return sorted(int(message.value() or b"-1") for message in read_topic(kafka, topic))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 1)
    return tmp_path


def test_without_a_crash_all_is_there_once(kafka: Cluster, topic: str, directory: Path):
    run(kafka, topic, directory, Numbers(50))
    assert values(kafka, topic) == list(range(50))
    headers = dict(read_topic(kafka, topic)[0].headers() or [])
    assert headers["kind"] == b"test"
    assert headers["record_id"].startswith(b"id-")


@pytest.mark.parametrize("seed", range(3))
def test_crashes_at_random_moments_repeat_nothing_and_lose_nothing(
    kafka: Cluster, topic: str, directory: Path, seed: int
):
    """Also several in a row, before what the last one left over has come again; epochs hold several records."""
    chance = random.Random(seed)
    crashes = chance.choices(range(1, 120), k=6)
    source = Numbers(120, crashes, batch=chance.choice([1, 7]))
    while crashes:
        run(kafka, topic, directory, source, epoch_ms=chance.choice([0, 5, 10_000]))
    run(kafka, topic, directory, source)
    assert values(kafka, topic) == list(range(120))


def test_what_others_write_in_the_topic_is_no_reason_to_leave_anything_out(kafka: Cluster, topic: str, directory: Path):
    run(kafka, topic, directory, Numbers(2))
    producer = Producer(config(kafka))
    producer.produce(topic, b"77", headers=[("record_id", b"id-2"), ("writer", b"someone else")])
    producer.produce(topic, b"78")
    assert producer.flush(10) == 0
    run(kafka, topic, directory, Numbers(3))
    assert values(kafka, topic) == [0, 1, 2, 77, 78]


def test_records_from_before_the_recovery_directory_are_not_read_back(kafka: Cluster, topic: str, tmp_path: Path):
    for number in range(2):
        directory = tmp_path / str(number)
        directory.mkdir()
        init_db_dir(directory, 1)
        run(kafka, topic, directory, Numbers(2))
    assert values(kafka, topic) == [0, 0, 1, 1]


def test_where_the_topic_ended_at_first_is_remembered(kafka: Cluster, topic: str, tmp_path: Path):
    before = start_offsets(config(kafka), topic, tmp_path)
    assert set(before.values()) == {0}
    producer = Producer(config(kafka))
    producer.produce(topic, b"1")
    assert producer.flush(10) == 0
    assert start_offsets(config(kafka), topic, tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [f"start-of-{topic}.json"]


def test_a_snapshot_of_another_version_is_refused(mock_kafka: Cluster, tmp_path: Path):
    topic = f"topic-{uuid4().hex[:8]}"
    mock_kafka.create_topic(topic)
    sink = OnceSink(SharedProducer(config(mock_kafka)), topic, config(mock_kafka), tmp_path)
    sink.list_parts()
    with pytest.raises(ValueError, match="format 99"):
        sink.build_part("out", "00", b"\x93\x63\x80\x90")
