"""SIGTERM and SIGINT end a running flow well: this file is also the flow that runs, as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow

from connectors.drain import Drain
from connectors.kafka_sink import KafkaSink, Record, SharedProducer
from connectors.kafka_source import KafkaSource, RawBatch
from tests.servers.clients import produce_numbers, read_topic
from tests.servers.kafka import Cluster

ROOT = Path(__file__).parent.parent


def copy_flow() -> Dataflow:
    """Copies `in` to `out`, until it is drained."""
    settings = {"bootstrap.servers": os.environ["TEST_BOOTSTRAP"], "log_level": "0"}
    drain = Drain()
    drain.install()
    flow = Dataflow("copy")
    batches = op.input("in", flow, KafkaSource(settings, [os.environ["TEST_IN"]], drain=drain))
    control = KafkaSource(settings, [os.environ["TEST_IN"]], drain=drain, control=True)
    op.inspect("control", op.filter("none", op.input("control_in", flow, control), lambda _: False))
    records = op.map("records", batches, records_of)
    op.output("out", records, KafkaSink(SharedProducer(settings), os.environ["TEST_OUT"]))
    return flow


def records_of(batch: RawBatch) -> tuple[str, list[Record]]:
    return str(batch.partition), [Record(key, value) for key, value in zip(batch.keys, batch.values, strict=True)]


def start(kafka: Cluster, topics: tuple[str, str], recovery: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {"TEST_BOOTSTRAP": kafka.bootstrap, "TEST_IN": topics[0], "TEST_OUT": topics[1]}
    command = [sys.executable, "-m", "bytewax.run", "tests.test_kafka_drain:copy_flow"]
    return subprocess.Popen(
        [*command, "-r", str(recovery), "-s", "5", "-b", "0", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(("number", "options"), [(signal.SIGTERM, ()), (signal.SIGINT, ()), (signal.SIGTERM, ("-w2",))])
def test_a_signal_drains_and_nothing_is_lost_or_repeated(
    kafka: Cluster, topic: str, tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    subprocess.run([sys.executable, "-m", "bytewax.recovery", str(tmp_path), "1"], cwd=ROOT, check=True)
    out = f"{topic}-out"
    kafka.create_topic(out)
    produce_numbers(kafka, topic, range(1_000))
    for expected in (1_000, 2_000):
        flow = start(kafka, (topic, out), tmp_path, *options)
        deadline = time.monotonic() + 30
        while len(read_topic(kafka, out)) < expected:
            assert time.monotonic() < deadline
            assert flow.poll() is None
            time.sleep(0.1)
        flow.send_signal(number)
        _, errors = flow.communicate(timeout=20)
        assert flow.returncode == 0, errors.decode()
        assert f"{number.name}: no more is read".encode() in errors
        produce_numbers(kafka, topic, range(expected, expected + 1_000))
    assert sorted(int(message.value() or b"") for message in read_topic(kafka, out)) == list(range(2_000))


def test_a_second_signal_of_the_same_kind_ends_at_once() -> None:
    code = """
import os, signal, time
from connectors.drain import Drain
drain = Drain(); drain.install()
os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGINT)
assert drain.requested
print("still here", flush=True)
os.kill(os.getpid(), signal.SIGTERM); time.sleep(5); print("too late")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, timeout=30)
    assert done.stdout == b"still here\n"
    assert done.returncode == -signal.SIGTERM
