"""`fraudflow run`: a cluster that is started, kept running, drained, and told apart from one that can't be helped."""

import os
import signal
import time
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from tests.integration.flow import by_rules, pipeline
from tests.integration.supervised import supervised
from tests.integration.test_flow import expected, some_messages
from tests.servers.kafka import Cluster, Kafka

pytestmark = pytest.mark.timeout(400)  # each start of a process takes seconds on a busy machine

POISON = """
from operators.decisions.decide import Decider
decide = Decider.decide
def failing(self, items, *rest):
    for item in items:
        if item.user_id == "upoison":
            raise ZeroDivisionError("a bug")
    return decide(self, items, *rest)
Decider.decide = failing
"""


def payment(number: int, user: str = "u") -> dict:
    return {"userId": user, "amount": 15_000, "timestamp": "2024-12-04T10:00:00Z", "transaction_id": f"t{number}"}


@pytest.mark.servers
@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_that_dies_is_followed_by_a_restart_of_all(real_kafka: Kafka, processes: int):
    messages = some_messages(600)
    with pipeline(real_kafka, MODEL_FILE="") as flow, supervised(flow, "-p", str(processes)) as run:
        flow.send(messages[:300])
        run.wait_ready()
        first = run.pids
        assert len(first) == processes
        flow.wait_for("ALERT_TOPIC", len(expected(messages[:300])), 120)
        os.kill(first[-1], signal.SIGKILL)
        flow.send(messages[300:])
        run.wait_until(lambda: run.get("/health")[1]["restarts"] == 1)
        flow.wait_for("ALERT_TOPIC", len(expected(messages)), 120)
        run.wait_ready()
        status, health = run.get("/health")
        assert (status, health["state"]) == (200, "running")
        assert f"process {processes - 1}: SIGKILL" in health["last_trouble"]
        assert not set(run.pids) & set(first)
        assert run.end() == 0
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))


def test_a_signal_drains_all_and_nothing_is_left(mock_kafka: Cluster):
    with pipeline(mock_kafka, MODEL_FILE="") as flow, supervised(flow, "-p", "2", "-w", "2") as run:
        flow.send([payment(1)])
        run.wait_ready()
        flow.wait_for("ALERT_TOPIC", 1, 120)
        pids = run.pids
        assert run.end(signal.SIGINT) == 0
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert run.output().count("SIGTERM: no more is read") == 2
        assert "[0] " in run.output()
        assert "[1] " in run.output()


def test_its_processes_drain_when_it_is_killed(mock_kafka: Cluster):
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        with supervised(flow, "-p", "2") as run:
            run.wait_ready()
            pids = run.pids
            run.process.kill()
            run.wait()
            run.wait_until(lambda: not any(map(runs, pids)))
        flow.send([payment(1)])
        with supervised(flow) as run:
            flow.wait_for("ALERT_TOPIC", 1, 120)
            assert run.end() == 0


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_backlog_is_worked_off_and_ends(mock_kafka: Cluster):
    messages = some_messages(300)
    with pipeline(mock_kafka, MODEL_FILE="", STOP_AT_END="true") as flow:
        flow.send(messages)
        with supervised(flow, "-p", "2") as run:
            assert run.wait() == 0
        assert by_rules(flow.alerts()) == expected(messages)


def test_what_is_configured_wrong_is_not_tried_again(mock_kafka: Cluster):
    with pipeline(mock_kafka, RULES_FILE="nowhere.toml") as flow, supervised(flow, "-p", "2") as run:
        assert run.wait() == 2
        assert "nowhere.toml: No such file" in run.output()
        assert "not started again, since that would not help" in run.output()
        assert "Traceback" not in run.output()


def test_a_broker_that_is_not_there_yet_is_waited_for(mock_kafka: Cluster, tmp_path: Path):
    with (
        pipeline(mock_kafka, MODEL_FILE="") as flow,
        supervised(flow, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", KAFKA_CONFIG_SOCKET_TIMEOUT_MS="1000") as run,
    ):
        run.wait_until(lambda: "restart 1" in run.output())
        assert "fraudflow cannot start yet: no answer from Kafka at 127.0.0.1:1" in run.output()
        assert run.get("/ready")[0] == 503
        assert run.end() == 0


def test_a_message_that_ends_the_flow_again_and_again_is_named_and_can_be_left_out(mock_kafka: Cluster, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(POISON)
    messages = [*(payment(i, f"u{i}") for i in range(40)), payment(99, "upoison"), payment(41, "u41")]
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(messages)
        (poison,) = [m for m in flow.read("TRANSACTION_TOPICS") if m.key() == b"upoison"]
        topic = flow.topics["TRANSACTION_TOPICS"]
        with supervised(flow, "-p", "2", python_path=tmp_path) as run:
            assert run.wait(300) == 65
            place = f"{topic}[{poison.partition()}] offset {poison.offset()} (transaction 't99' of user 'upoison')"
            assert (
                f"{place} has ended the flow 3 times: step decide fails at it (ZeroDivisionError: a bug)"
                in run.output()
            )
        left_out = f"{topic}/{poison.partition()}/{poison.offset()}"
        with supervised(flow, "-p", "2", python_path=tmp_path, SKIP_MESSAGES=left_out) as run:
            flow.wait_for("DLQ_TOPIC", 1, 120)
            flow.wait_for("ALERT_TOPIC", 41, 120)
            assert run.end() == 0
        (letter,) = flow.read("DLQ_TOPIC")
        assert (letter.value(), dict(letter.headers() or [])["reason"]) == (poison.value(), b"left_out")


@pytest.mark.servers
def test_partitions_that_are_added_are_read_from_their_beginning(real_kafka: Kafka, tmp_path: Path):
    """Also with `latest`: what came between their making and the restart is not passed over."""
    (tmp_path / "sitecustomize.py").write_text("from connectors import kafka_partitions as k\nk.EVERY_S = 0.5\n")
    with pipeline(real_kafka, MODEL_FILE="", START_FROM="latest") as flow:
        with supervised(flow, "-p", "2", python_path=tmp_path) as run:
            run.wait_ready()
            run.wait_until(lambda: run.get("/health")[1]["processes"][0]["epochs_seen"] > 1)
            real_kafka.add_partitions(flow.topics["TRANSACTION_TOPICS"], 6)
            flow.send([payment(i, f"u{i}") for i in range(30)])
            run.wait_until(lambda: "6 partitions, 2 more than when the flow started" in run.output())
            flow.wait_for("ALERT_TOPIC", 30, 120)
            assert run.get("/health")[1]["restarts"] == 1
            assert run.end() == 0
            assert "Traceback" not in run.output()
        assert {m.partition() for m in flow.read("TRANSACTION_TOPICS")} == set(range(6))
        assert len(flow.alerts()) == 30


@pytest.mark.servers
def test_a_topic_that_is_deleted_or_emptied_is_a_clear_refusal(real_kafka: Kafka):
    with pipeline(real_kafka, MODEL_FILE="", KAFKA_CONFIG_TOPIC_METADATA_REFRESH_INTERVAL_MS="1000") as flow:
        topic = flow.topics["TRANSACTION_TOPICS"]
        with supervised(flow, "-p", "2") as run:
            flow.send([payment(i, f"u{i}") for i in range(30)])
            flow.wait_for("ALERT_TOPIC", 30, 120)
            time.sleep(2)
            real_kafka.delete_topic(topic)
            assert run.wait(200) == 2
            assert f"has no topic {topic}" in run.output()
        real_kafka.create_topic(topic)
        with supervised(flow, "-p", "2") as run:
            assert run.wait() == 2
            assert "It was made anew or cut off" in run.output().rpartition("not started again")[2]


@pytest.mark.servers
def test_a_rule_that_needs_another_window_is_in_force_seconds_later(real_kafka: Kafka):
    """The flow is drained and started with the windows of the rules that the topic holds."""
    with pipeline(real_kafka, MODEL_FILE="") as flow, supervised(flow, "-p", "2") as run:
        run.wait_ready()
        producer = Producer({"bootstrap.servers": real_kafka.bootstrap})
        producer.produce(flow.topics["RULE_TOPIC"], orjson.dumps({"when": "count_7h > 2"}), "seven_hours")
        assert producer.flush(30) == 0
        run.wait_until(lambda: "rules seven_hours need windows that are not kept: draining" in run.output())
        run.wait_until(lambda: run.get("/health")[1]["restarts"] == 1)
        run.wait_ready()
        flow.send([{**payment(i), "amount": 1, "timestamp": f"2024-12-04T{10 + i}:00:00Z"} for i in range(3)])
        flow.wait_for("ALERT_TOPIC", 1, 120)
        assert run.end() == 0
        assert by_rules(flow.alerts()) == {"t2": {"seven_hours"}}
        told = [event["event"] for event in flow.records("MODEL_EVENT_TOPIC") if event.get("rule") == "seven_hours"]
        assert told == ["rule_refused"]
