"""What production does to the flow, as far as it takes no minutes; `python -m tests.chaos` has the rest."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.flow import ROOT, by_rules, pipeline
from tests.integration.supervised import supervised
from tests.integration.test_flow import expected, some_bad_messages, some_messages
from tests.servers.influxdb import BUCKET, InfluxDB
from tests.servers.kafka import Cluster, Kafka

pytestmark = pytest.mark.timeout(400)


@pytest.mark.servers
def test_influxdb_away_delays_no_alert_and_no_drain_and_no_point_is_missing(
    mock_kafka: Cluster, own_influxdb: InfluxDB
):
    """The delivery timeout is ten minutes: whatever waited for InfluxDB would fail the test."""
    messages = some_messages(600)
    target = {"INFLUX_URL": own_influxdb.url, "INFLUX_TOKEN": "any:token", "INFLUX_BUCKET": BUCKET}
    with pipeline(mock_kafka, MODEL_FILE="", DELIVERY_TIMEOUT="10m", **target) as flow:
        own_influxdb.kill()
        (process,) = flow.start(recover=True)
        for start in range(0, 600, 200):
            flow.send(messages[start : start + 200])
            flow.wait_for("ALERT_TOPIC", len(expected(messages[: start + 200])), 120)
            time.sleep(1.5)  # epochs end meanwhile
        process.send_signal(signal.SIGTERM)
        assert flow.wait(120) == [0], flow.output()
        assert list((flow.recovery / "influxdb-spool").glob("*.lines"))
        own_influxdb.start()
        (process,) = flow.start(recover=True)
        deadline = time.monotonic() + 120
        while list((flow.recovery / "influxdb-spool").glob("*.lines")):
            assert time.monotonic() < deadline, flow.output()
            time.sleep(0.2)
        process.terminate()
        assert flow.wait(120) == [0]
        assert by_rules(flow.alerts()) == expected(messages)
        points = own_influxdb.query("SELECT * FROM fraud_alert")
        assert sorted(point["alert_id"] for point in points) == sorted(a["alert_id"] for a in flow.alerts())


def test_a_drain_in_a_backlog_ends_soon_and_the_rest_is_read_later(mock_kafka: Cluster):
    messages = some_messages(20_000)
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(messages)
        with supervised(flow, "-p", "2") as run:
            flow.wait_for("ALERT_TOPIC", 1, 120)
            assert run.end() == 0
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))


@pytest.mark.servers
def test_a_broker_that_is_killed_and_comes_back_costs_nothing_but_time(own_kafka: Kafka):
    """For longer than the flow waits for a delivery: it stops, and is started again until the broker is there."""
    messages = some_messages(600)
    with (
        pipeline(own_kafka, MODEL_FILE="", DELIVERY_TIMEOUT="3s") as flow,
        supervised(flow, "-p", "2", KAFKA_CONFIG_SOCKET_TIMEOUT_MS="2000") as run,
    ):
        flow.send(messages[:300])
        flow.wait_for("ALERT_TOPIC", len(expected(messages[:300])), 120)
        own_kafka.kill()
        run.wait_until(lambda: run.get("/health")[1]["restarts"] >= 1, 200)
        own_kafka.start()
        flow.send(messages[300:])
        flow.wait_for("ALERT_TOPIC", len(expected(messages)), 200)
        assert run.end() == 0
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))


@pytest.mark.servers
def test_messages_that_were_deleted_unread_are_told_and_chosen(real_kafka: Kafka):
    messages = some_messages(400)
    with pipeline(real_kafka, MODEL_FILE="") as flow:
        flow.send(messages[:100])
        flow.run(recover=True)
        flow.send(messages[100:300])
        topic = flow.topics["TRANSACTION_TOPICS"]
        for partition in range(4):
            end = max(m.offset() for m in flow.read("TRANSACTION_TOPICS") if m.partition() == partition) + 1
            real_kafka.delete_records(topic, partition, end)
        flow.send(messages[300:])
        with supervised(flow, STOP_AT_END="true") as run:
            assert run.wait(200) == 2, run.output()
            assert "were deleted (the topic's retention)" in run.output().rpartition("not started again")[2]
        assert len(flow.alerts()) == len(expected(messages[:100]))
        flow.run(recover=True, LOST_OFFSETS="oldest")
        found = {int(alert["transaction_id"].split("-")[1]) for alert in flow.alerts()}
        assert not found & set(range(100, 300))
        assert found & set(range(300, 400))


def test_nothing_but_poison_fills_the_dead_letters_and_stops_nothing(mock_kafka: Cluster):
    bad = list(some_bad_messages())
    with pipeline(mock_kafka, MODEL_FILE="", MAX_MESSAGE_BYTES="5000") as flow:
        for _ in range(20):
            flow.send(bad * 5)
        flow.run(recover=True)
        assert len(flow.read("DLQ_TOPIC")) == 100 * len(bad)
        assert flow.alerts() == []


def test_a_full_disk_stops_the_flow_and_nothing_is_lost(mock_kafka: Cluster):
    """The recovery directory can't grow: a limit on the size of files, as a quota sets it."""
    messages = some_messages(3_000)
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(messages[:50])
        flow.run(recover=True)
        flow.send(messages[50:])
        largest = max(path.stat().st_size for path in flow.recovery.glob("part-*")) // 512 + 8
        command = f"ulimit -f {largest}; trap '' XFSZ; exec {sys.executable} -m bytewax.run flows.fraud:get_flow"
        environment = {f"FRAUD_{name}": value for name, value in flow.settings.items()}
        # The limit is for every file of the process: it must not leave half a module in __pycache__.
        environment |= {"FRAUD_STOP_AT_END": "true", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            ["sh", "-c", f"{command} -r {flow.recovery} -s 1 -b 0"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode not in (0, 2), done.stderr[-3000:]
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))


def test_a_spoiled_recovery_file_is_refused_and_a_copy_goes_on(mock_kafka: Cluster, tmp_path: Path):
    messages = some_messages(600)
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(messages[:300])
        flow.run(recover=True)
        copy = tmp_path / "copy"
        shutil.copytree(flow.recovery, copy)
        for path in flow.recovery.glob("part-*.sqlite3"):
            content = bytearray(path.read_bytes())
            content[100 : len(content)] = b"\xff" * (len(content) - 100)
            path.write_bytes(content)
        with supervised(flow) as run:
            assert run.wait(200) == 2
            assert "can't be read" in run.output()
        shutil.rmtree(flow.recovery)
        shutil.copytree(copy, flow.recovery)
        flow.send(messages[300:])
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))
