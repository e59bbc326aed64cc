"""`simulate` against a broker: rate, delivery, labels, and what happens when delivery fails."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from fraudflow import broker
from fraudflow.demo.topics import Topics
from fraudflow.sending import DeliveryFailed, Sender
from tests.servers.kafka import Kafka

ROOT = Path(__file__).parents[1]


@pytest.fixture
def address() -> Iterator[str]:
    cluster, address = broker.start()
    yield address
    del cluster


def simulate(address: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    return subprocess.run(
        [sys.executable, "-m", "fraudflow", "simulate", *arguments],
        cwd=ROOT,
        env={**clean, "FRAUD_KAFKA_BOOTSTRAP_SERVERS": address, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def topic(address: str, name: str) -> list[dict[str, object]]:
    topics = Topics({"bootstrap.servers": address}, [name])
    try:
        return [orjson.loads(message.value() or b"null") for message in topics.to_the_end()]
    finally:
        topics.close()


def test_all_messages_and_labels_arrive_at_the_rate_that_was_asked_for(address: str) -> None:
    done = simulate(address, "--rate", "500", "--seconds", "2", "--fraud-share", "0.1", "--label-delay", "1s")
    assert done.returncode == 0, done.stderr
    assert "1,000 messages in 2.0 s: 500 a second, all delivered" in done.stdout
    transactions = topic(address, "transactions")
    assert len(transactions) == 1_000
    labels = topic(address, "fraud-labels")
    assert labels
    assert {label["transaction_id"] for label in labels} <= {record["transaction_id"] for record in transactions}


def test_topics_come_from_the_settings(address: str) -> None:
    done = simulate(
        address, "--format", "paysim", "--rate", "50", "--seconds", "1", FRAUD_TRANSACTION_TOPICS="transactions-input"
    )
    assert done.returncode == 0, done.stderr
    assert len(topic(address, "transactions-input")) == 50


def test_a_file_is_sent_in_its_order_as_fast_as_asked(address: str) -> None:
    began = time.monotonic()
    done = simulate(address, "--file", "data/paysim_excerpt.csv.gz", "--speed", "36000")
    assert done.returncode == 0, done.stderr
    assert "19,999 messages" in done.stdout
    # Eight hours and a bit less, 36,000 times as fast.
    assert 0.7 < time.monotonic() - began < 30
    records = topic(address, "transactions")
    assert len(records) == 19_999
    assert sum(record["isFraud"] == 1 for record in records) == 81


def test_without_a_broker_it_ends_with_1_and_says_so() -> None:
    done = simulate("127.0.0.1:1", "--rate", "10", "--seconds", "1")
    assert done.returncode == 1
    assert "no answer from Kafka at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_goes_away_ends_it_with_1_and_says_so() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "fraudflow", "broker"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    environment = {**os.environ, "FRAUD_KAFKA_CONFIG_DELIVERY_TIMEOUT_MS": "1000"}
    command = [sys.executable, "-m", "fraudflow", "simulate", "--rate", "100", "--seconds", "30"]
    with subprocess.Popen(
        [*command, "--bootstrap", address], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as sending:
        time.sleep(3)
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        _, told = sending.communicate(timeout=30)
    assert sending.returncode == 1
    assert "was not delivered" in told


def test_the_embedded_broker_ends_with_the_parent_that_holds_its_input() -> None:
    command = [sys.executable, "-m", "fraudflow", "broker", "--until-stdin-closes"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert ":" in server.stdout.readline()
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(10) == 0


def test_a_message_that_is_refused_is_not_taken_for_sent(address: str) -> None:
    sender = Sender({"bootstrap.servers": address}, message_max_bytes="2000")
    with pytest.raises(DeliveryFailed, match="too large"):
        sender.send("transactions", b"k", b"x" * 5_000)


@pytest.mark.servers
def test_a_missing_topic_is_told_with_the_command_that_makes_it(real_kafka: Kafka) -> None:
    done = simulate(real_kafka.address(), "--rate", "10", "--seconds", "1", "--topic", "nowhere")
    assert done.returncode == 1
    assert "has no topic nowhere" in done.stderr
    assert "topics create" in done.stderr


@pytest.mark.servers
def test_it_sends_to_a_real_broker(real_kafka: Kafka) -> None:
    name = f"simulated-{uuid4().hex[:8]}"
    real_kafka.create_topic(name)
    real_kafka.create_topic(f"{name}-labels")
    done = simulate(
        real_kafka.address(),
        *("--rate", "2000", "--seconds", "1", "--topic", name, "--fraud-share", "0.1", "--label-delay", "0s"),
        FRAUD_LABEL_TOPIC=f"{name}-labels",
    )
    assert done.returncode == 0, done.stderr
    assert len(topic(real_kafka.address(), name)) == 2_000
    assert topic(real_kafka.address(), f"{name}-labels")
