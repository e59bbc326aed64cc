"""What the source promises, on the embedded cluster and on a real broker."""

import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import bytewax.operators as op
import bytewax.recovery
import bytewax.testing
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution
from bytewax.testing import TestingSink
from confluent_kafka import Producer

from connectors.drain import Drain
from connectors.kafka import KafkaUnavailable, TopicProblem
from connectors.kafka_consumer import SourceError
from connectors.kafka_source import KafkaSource, RawBatch
from tests.servers.clients import EPOCH_MS, committed, config, produce_numbers
from tests.servers.kafka import Cluster, Kafka
from tests.servers.process import free_ports

EACH_POLL = timedelta(0)

# The engine's own functions have no types.
run_main: Any = bytewax.testing.run_main
cluster_main: Any = bytewax.testing.cluster_main
init_db_dir: Any = bytewax.recovery.init_db_dir
RecoveryConfig: Any = bytewax.recovery.RecoveryConfig


def source_of(kafka: Cluster, *topics: str, **options: Any) -> KafkaSource:
    options.setdefault("drain", Drain())
    return KafkaSource(config(kafka), topics, **options)


def flow_of(source: KafkaSource, out: list[RawBatch], each: Callable[[RawBatch], object] = lambda _: None) -> Dataflow:
    def look(batch: RawBatch) -> RawBatch:
        each(batch)
        return batch

    flow = Dataflow("test")
    op.output("out", op.map("look", op.input("in", flow, source), look), TestingSink(out))
    return flow


def read(kafka: Cluster, *topics: str, recovery: Any = None, **options: Any) -> list[RawBatch]:
    """Everything there is now, through the engine."""
    out: list[RawBatch] = []
    flow = flow_of(source_of(kafka, *topics, stop_at_end=True, **options), out)
    run_main(flow, epoch_interval=EACH_POLL, recovery_config=recovery)
    return out


class Parts:
    """All parts of a source, asked in turn as the engine would, without the engine."""

    def __init__(self, source: KafkaSource, resume: dict[str, int] | None = None) -> None:
        self.parts = {name: source.build_part("in", name, (resume or {}).get(name)) for name in source.list_parts()}
        self.ended: set[str] = set()
        self.batches: list[RawBatch] = []

    def ask(self) -> list[RawBatch]:
        new: list[RawBatch] = []
        for name, part in self.parts.items():
            if name not in self.ended:
                try:
                    new += part.next_batch()
                except StopIteration:
                    self.ended.add(name)
        self.batches += new
        return new

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain, {len(self.batches)} batches came"
            self.ask()
            time.sleep(0.001)

    def until_values(self, count: int) -> None:
        self.until(lambda: len(values(self.batches)) >= count)

    def snapshot(self) -> dict[str, int]:
        return {name: part.snapshot() for name, part in self.parts.items()}

    def close(self) -> None:
        for part in self.parts.values():
            part.close()


def values(batches: list[RawBatch]) -> list[int]:
    return sorted(int(value) for batch in batches for value in batch.values if value)


def in_order(batches: list[RawBatch]) -> bool:
    """Whether the offsets of each partition only grow."""
    last: dict[tuple[str, int], int] = {}
    for batch in batches:
        for offset in batch.offsets:
            if offset <= last.get((batch.topic, batch.partition), -1):
                return False
            last[batch.topic, batch.partition] = offset
    return True


@pytest.fixture
def recovery(tmp_path: Path) -> Any:
    init_db_dir(tmp_path, 1)
    return RecoveryConfig(tmp_path, backup_interval=timedelta(0))


def test_reads_everything_in_order_in_small_batches_and_ends(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(8_000))
    batches = read(kafka, topic)
    assert values(batches) == list(range(8_000))
    assert in_order(batches)
    assert max(len(batch.values) for batch in batches) == 500
    for batch in batches:
        numbers = [int(value or b"") for value in batch.values]
        assert numbers == [4 * offset + batch.partition for offset in batch.offsets]
        assert batch.timestamps == [EPOCH_MS + number for number in numbers]
        assert batch.keys == [b"p%d" % batch.partition] * len(numbers)


def test_several_topics_are_one_source(kafka: Cluster, topic: str) -> None:
    other = f"other-{uuid4().hex[:8]}"
    kafka.create_topic(other)
    produce_numbers(kafka, topic, range(100))
    produce_numbers(kafka, other, range(100, 200))
    batches = read(kafka, topic, other)
    assert values(batches) == list(range(200))
    assert {(batch.topic, int(batch.values[0] or b"") >= 100) for batch in batches} == {(topic, False), (other, True)}


def test_an_empty_topic_ends_at_once(kafka: Cluster, topic: str) -> None:
    assert read(kafka, topic) == []


def test_tombstones_and_missing_keys_are_passed_on(kafka: Cluster, topic: str) -> None:
    producer = Producer(config(kafka))
    producer.produce(topic, None, b"gone", partition=0)
    producer.produce(topic, b"without", None, partition=0)
    producer.flush(10)
    batches = read(kafka, topic)
    assert [key for batch in batches for key in batch.keys] == [b"gone", None]
    assert [value for batch in batches for value in batch.values] == [None, b"without"]


def test_stops_at_the_end_there_was_at_the_start_though_more_comes(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(400))
    parts = Parts(source_of(kafka, topic, stop_at_end=True))
    produce_numbers(kafka, topic, range(400, 800))
    parts.until(lambda: len(parts.ended) == 4)
    for _ in range(20):
        parts.ask()  # what the client still receives of the rest changes nothing
        time.sleep(0.01)
    assert values(parts.batches) == list(range(400))
    assert parts.snapshot() == {f"{topic}/{number}": 100 for number in range(4)}
    parts.close()


def test_two_workers_read_each_message_once(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(2_000))
    out: list[RawBatch] = []
    cluster_main(flow_of(source_of(kafka, topic, stop_at_end=True), out), [], 0, worker_count_per_proc=2)
    assert values(out) == list(range(2_000))


def test_after_an_abort_it_goes_on_from_the_last_epoch(kafka: Cluster, topic: str, recovery: Any) -> None:
    produce_numbers(kafka, topic, range(2_000))
    cut_off: list[RawBatch] = []
    source = source_of(kafka, topic)

    def abort_at_the_end() -> None:
        if len(values(cut_off)) >= 1_990:
            raise AbortExecution

    build: Any = source.build_part

    def build_aborting(step_id: str, for_part: str, resume_state: int | None) -> Any:
        part = build(step_id, for_part, resume_state)
        ask = part.next_batch

        def next_batch() -> list[RawBatch]:
            abort_at_the_end()
            batches: list[RawBatch] = ask()
            return batches

        part.next_batch = next_batch
        return part

    source.build_part = build_aborting  # type: ignore[method-assign]
    run_main(flow_of(source, cut_off), epoch_interval=EACH_POLL, recovery_config=recovery)
    produce_numbers(kafka, topic, range(2_000, 2_400))

    again = read(kafka, topic, recovery=recovery)
    assert sorted({*values(cut_off), *values(again)}) == list(range(2_400)), "a message is missing"
    assert len(values(again)) < 2_400, "it began at the start again"
    assert in_order(again)
    assert read(kafka, topic, recovery=recovery) == [], "a clean end is remembered"


def test_a_snapshot_is_what_was_handed_over_not_what_was_received(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(40_000), partition=2)
    parts = Parts(source_of(kafka, topic))
    parts.until_values(1)
    handed_over = len(values(parts.batches))
    snapshot = parts.snapshot()
    assert handed_over <= 5_000
    assert snapshot[f"{topic}/2"] == handed_over
    parts.close()

    rest = Parts(source_of(kafka, topic, stop_at_end=True), snapshot)
    rest.until(lambda: len(rest.ended) == 4)
    assert values(parts.batches) + values(rest.batches) == list(range(40_000))
    rest.close()


def test_latest_is_an_offset_from_the_start_on(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(100))
    parts = Parts(source_of(kafka, topic, start_from="latest"))
    snapshot = parts.snapshot()  # before any message: a crash now must leave no gap
    assert snapshot == {f"{topic}/{number}": 25 for number in range(4)}
    parts.close()
    produce_numbers(kafka, topic, range(100, 200))
    resumed = Parts(source_of(kafka, topic, start_from="latest"), snapshot)
    resumed.until_values(100)
    assert values(resumed.batches) == list(range(100, 200))
    resumed.close()


def test_drain_ends_every_part_and_the_next_run_goes_on(kafka: Cluster, topic: str, recovery: Any) -> None:
    produce_numbers(kafka, topic, range(400))
    drain, drained = Drain(), list[RawBatch]()
    flow = flow_of(source_of(kafka, topic, drain=drain), drained, lambda _: drain.request())
    run_main(flow, epoch_interval=timedelta(seconds=10), recovery_config=recovery)
    assert drained
    rest = read(kafka, topic, recovery=recovery)
    assert sorted(values(drained) + values(rest)) == list(range(400))


def test_lag_tools_see_the_epoch_before_and_at_the_end_everything(kafka: Cluster, topic: str) -> None:
    group = f"group-{uuid4().hex[:8]}"
    produce_numbers(kafka, topic, range(100), partition=1)
    parts = Parts(source_of(kafka, topic, group=group))
    parts.until_values(100)
    parts.snapshot()
    assert committed(kafka, group, topic).get(1) is None, "this epoch is not on disk yet"
    produce_numbers(kafka, topic, range(100, 150), partition=1)
    parts.until_values(150)
    parts.snapshot()
    parts.until(lambda: committed(kafka, group, topic).get(1) == 100)
    parts.snapshot()
    parts.close()
    assert committed(kafka, group, topic)[1] == 150


def test_a_control_source_ends_after_the_main_one_and_having_read_all(kafka: Cluster, topic: str) -> None:
    control = f"control-{uuid4().hex[:8]}"
    kafka.create_topic(control)
    produce_numbers(kafka, topic, range(100))
    produce_numbers(kafka, control, range(100))
    drain = Drain()
    rules = Parts(source_of(kafka, control, drain=drain, stop_at_end=True, control=True))
    main = Parts(source_of(kafka, topic, drain=drain, stop_at_end=True))
    rules.until_values(100)
    produce_numbers(kafka, control, range(100, 120))  # comes while the main source runs: is still taken
    rules.until_values(120)
    assert not rules.ended
    main.until(lambda: len(main.ended) == 4)
    rules.until(lambda: len(rules.ended) == 4)
    for parts in (rules, main):
        parts.close()


def test_main_waits_for_what_is_read_first(kafka: Cluster, topic: str) -> None:
    control = f"control-{uuid4().hex[:8]}"
    kafka.create_topic(control)
    produce_numbers(kafka, topic, range(100))
    produce_numbers(kafka, control, range(100))
    drain = Drain()
    rules_source = source_of(kafka, control, drain=drain, control=True, read_first=True)
    main = Parts(source_of(kafka, topic, drain=drain))
    assert main.ask() == []  # the part that is read first is not even there
    rules = Parts(rules_source)
    time.sleep(0.3)
    assert main.ask() == []
    rules.until(lambda: not drain.mains_must_wait)
    assert values(rules.batches) == list(range(100))
    main.until_values(100)
    for parts in (rules, main):
        parts.close()


def test_a_control_source_drains_at_once(kafka: Cluster, topic: str) -> None:
    drain = Drain()
    parts = Parts(source_of(kafka, topic, drain=drain, control=True))
    parts.ask()
    drain.request()
    parts.ask()
    assert len(parts.ended) == 4
    parts.close()


def test_asks_less_often_the_longer_nothing_comes_and_at_once_when_busy(kafka: Cluster, topic: str) -> None:
    parts = Parts(source_of(kafka, topic))
    (part, *_) = parts.parts.values()
    parts.until(lambda: part.next_awake() is not None)
    time.sleep(0.5)
    parts.until(lambda: (part.next_awake() or datetime.now(UTC)) - datetime.now(UTC) > timedelta(milliseconds=8))
    produce_numbers(kafka, topic, range(4))
    parts.until_values(1)
    assert part.next_awake() is None
    parts.close()


def test_missing_topics_are_named_with_what_to_do(kafka: Cluster, topic: str) -> None:
    with pytest.raises(TopicProblem, match=r"no topic nowhere, lost .*python -m fraudflow topics create"):
        source_of(kafka, "nowhere", topic, "lost").list_parts()


def test_an_offset_beyond_the_end_is_refused(kafka: Cluster, topic: str) -> None:
    produce_numbers(kafka, topic, range(4))
    source = source_of(kafka, topic)
    source.list_parts()
    with pytest.raises(SourceError, match=rf"{topic}\[1\]: offset 7 comes next, but the topic now holds 0 to 0"):
        source.build_part("in", f"{topic}/1", 7)


def test_no_broker_is_told_with_the_reason() -> None:
    (port,) = free_ports(1)
    source = KafkaSource(
        {"bootstrap.servers": f"127.0.0.1:{port}", "log_level": "0"}, ["any"], drain=Drain(), timeout=1.0
    )
    with pytest.raises(KafkaUnavailable, match=rf"no answer from Kafka at 127.0.0.1:{port} within 1 s: .*refused"):
        source.list_parts()


def test_a_batch_survives_pickling() -> None:
    batch = RawBatch("t", 1, range(3, 5), [1, 2], [None, b"k"], [b"v", None])
    assert pickle.loads(pickle.dumps(batch)) == batch


@pytest.mark.servers
def test_deleted_offsets_stop_the_flow_or_are_skipped_as_set(real_kafka: Kafka) -> None:
    topic = f"short-{uuid4().hex[:8]}"
    real_kafka.create_topic(topic)
    produce_numbers(real_kafka, topic, range(400))
    real_kafka.delete_records(topic, 0, before=60)
    source = source_of(real_kafka, topic)
    source.list_parts()
    with pytest.raises(SourceError, match=r"offset 10 comes next, but the topic now holds 60 to 99. 50 messages"):
        source.build_part("in", f"{topic}/0", 10)
    parts = Parts(source_of(real_kafka, topic, lost_offsets="oldest", stop_at_end=True), {f"{topic}/0": 10})
    parts.until(lambda: len(parts.ended) == 4)
    assert len(values(parts.batches)) == 340
    parts.close()


@pytest.mark.servers
def test_offsets_deleted_while_reading_stop_the_flow(real_kafka: Kafka) -> None:
    topic = f"short-{uuid4().hex[:8]}"
    real_kafka.create_topic(topic, partitions=1)
    produce_numbers(real_kafka, topic, range(4), partition=0)
    produce_numbers(real_kafka, topic, range(4, 20_000), partition=0)
    # A queue of a kilobyte keeps the client from reading ahead of what is deleted.
    slow = {**config(real_kafka), "queued.max.messages.kbytes": "1", "fetch.message.max.bytes": "1000"}
    skipping = Parts(KafkaSource(slow, [topic], drain=Drain(), stop_at_end=True, lost_offsets="oldest"))
    stopping = Parts(KafkaSource(slow, [topic], drain=Drain(), stop_at_end=True))
    for parts in (skipping, stopping):
        parts.until_values(1)
    real_kafka.delete_records(topic, 0, before=19_000)
    with pytest.raises(SourceError, match=r"the topic now holds 19000 to 19999.*FRAUD_LOST_OFFSETS=oldest"):
        stopping.until(lambda: len(stopping.ended) == 1)
    skipping.until(lambda: len(skipping.ended) == 1)
    assert 1_000 < len(values(skipping.batches)) < 20_000
    assert values(skipping.batches)[-1_000:] == list(range(19_000, 20_000))
    assert in_order(skipping.batches)


@pytest.mark.servers
def test_a_topic_deleted_while_reading_stops_the_flow(real_kafka: Kafka) -> None:
    topic = f"gone-{uuid4().hex[:8]}"
    real_kafka.create_topic(topic)
    produce_numbers(real_kafka, topic, range(4))
    settings = {
        **config(real_kafka),
        "topic.metadata.propagation.max.ms": "1000",
        "topic.metadata.refresh.interval.ms": "500",
    }
    parts = Parts(KafkaSource(settings, [topic], drain=Drain()))
    parts.until_values(4)
    real_kafka.delete_topic(topic)
    with pytest.raises(SourceError, match=rf"{topic}.*(no longer available|does not exist).*topics create"):
        parts.until(lambda: False, 30.0)
    parts.close()


@pytest.mark.servers
def test_gaps_of_compaction_and_transactions_keep_their_offsets(real_kafka: Kafka) -> None:
    topic = f"gaps-{uuid4().hex[:8]}"
    real_kafka.create_topic(topic, partitions=1)
    producer = Producer({**config(real_kafka), "transactional.id": topic})
    producer.init_transactions(20)
    for first, keep in ((0, True), (10, False), (20, True)):
        producer.begin_transaction()
        for number in range(first, first + 10):
            producer.produce(topic, b"%d" % number)
        producer.flush(10)
        (producer.commit_transaction if keep else producer.abort_transaction)(10)
    parts = Parts(source_of(real_kafka, topic, stop_at_end=True))
    parts.until(lambda: len(parts.ended) == 1)
    assert values(parts.batches) == [*range(10), *range(20, 30)]
    offsets = [offset for batch in parts.batches for offset in batch.offsets]
    assert offsets == [*range(10), *range(22, 32)]
    assert parts.snapshot() == {f"{topic}/0": 33}, "also past the mark at the end"
    parts.close()


@pytest.mark.servers
def test_a_broker_that_is_killed_or_paused_is_waited_for(own_kafka: Kafka) -> None:
    own_kafka.create_topic("waits")
    produce_numbers(own_kafka, "waits", range(100))
    parts = Parts(source_of(own_kafka, "waits"))
    parts.until_values(100)
    own_kafka.kill()
    for _ in range(20):
        assert parts.ask() == []
        time.sleep(0.05)
    own_kafka.start()
    produce_numbers(own_kafka, "waits", range(100, 200))
    parts.until_values(200)
    with own_kafka.paused():
        for _ in range(20):
            parts.ask()
            time.sleep(0.05)
    produce_numbers(own_kafka, "waits", range(200, 300))
    parts.until_values(300)
    assert values(parts.batches) == list(range(300))
    assert in_order(parts.batches)
    parts.close()
