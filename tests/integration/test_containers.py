"""docker-compose.yml in motion: each container's own command and environment against a real Kafka and InfluxDB."""

import base64
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition

from flows.settings import Settings
from fraudflow.topics import wanted_topics
from tests.conftest import running
from tests.integration.containers import ROOT, Container, compose, image_files
from tests.servers.influxdb import InfluxDB
from tests.servers.kafka import Kafka

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


class Stack(NamedTuple):
    kafka: Kafka
    influxdb: InfluxDB
    topics: Container
    flow: Container
    simulator: Container


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with running(Kafka()) as kafka, running(InfluxDB()) as influxdb:
        recovery = tmp_path / "volume"
        recovery.mkdir()
        replaced = {
            "kafka:19092": kafka.bootstrap,
            "http://influxdb:8086": influxdb.url,
            "/recovery": str(recovery),
            "/run/secrets": str(ROOT / "deploy" / "secrets"),
        }
        app = image_files(tmp_path)
        containers = [Container(name, app, replaced) for name in ("topics", "flow", "simulator")]
        try:
            yield Stack(kafka, influxdb, *containers)
        finally:
            for container in containers:
                container.kill()


def test_the_containers_catch_fraud_restart_and_drain(stack: Stack) -> None:
    for _ in range(2):  # `docker compose up` runs the job every time
        assert stack.topics.start().wait(timeout=60) == 0, stack.topics.output()
    there = stack.kafka.admin().list_topics(timeout=10).topics
    assert {topic.name for topic in wanted_topics(Settings(), 6, 1)} <= set(there)

    stack.flow.start()
    stack.simulator.start()
    _until(stack, lambda: _total(stack, 'count("alert_id")', "fraud_alert") > 0)
    _until(stack, lambda: _total(stack, 'sum("transactions")', "pipeline") > 200)
    assert stack.flow.is_healthy()
    assert _as_grafana_asks(stack.influxdb.url, 'SELECT last("count") FROM "live_stats"')

    assert stack.flow.stop() == 0, stack.flow.output()
    before = _total(stack, 'sum("transactions")', "pipeline")
    stack.flow.start()
    _until(stack, lambda: _total(stack, 'sum("transactions")', "pipeline") > before + 100)
    assert stack.flow.output().count("first start") == 1
    stack.simulator.stop()
    assert stack.flow.stop() == 0, stack.flow.output()

    judged = _total(stack, 'sum("transactions")', "pipeline") + _total(stack, 'sum("dead_letters")', "pipeline")
    assert judged == _messages(stack.kafka, "transactions")


def test_the_flow_says_which_topics_are_missing_and_how_to_make_them(stack: Stack) -> None:
    assert stack.flow.start().wait(timeout=60) == 2
    assert "python -m fraudflow topics create" in stack.flow.output()


def _until(stack: Stack, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        for container in (stack.flow, stack.simulator):
            assert container.process is not None
            assert container.process.poll() is None, container.output()
        assert time.monotonic() < deadline, stack.flow.output() + stack.simulator.output()
        time.sleep(0.5)


def _total(stack: Stack, aggregate: str, measurement: str) -> int:
    rows = stack.influxdb.query(f'SELECT {aggregate} AS "total" FROM "{measurement}"')
    return int(rows[0]["total"]) if rows else 0


def _messages(kafka: Kafka, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "counting"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in partitions]
    consumer.close()
    return sum(ends)


def _as_grafana_asks(address: str, query: str) -> list[object]:
    """The data source as provisioned, with the environment that compose gives to Grafana."""
    environment = compose()["services"]["grafana"]["environment"]
    text = (ROOT / "grafana/provisioning/datasources/influxdb.yaml").read_text()
    secrets = ROOT / "deploy" / "secrets"
    text = re.sub(r"\$__file\{/run/secrets/(.+?)\}", lambda match: (secrets / match[1]).read_text(), text)
    expanded = re.sub(r"\$(\w+)", lambda match: str(environment[match[1]]), text)
    source = yaml.safe_load(expanded)["datasources"][0]
    assert source["url"] == "http://influxdb:8086"
    asked = urllib.parse.urlencode({"db": source["jsonData"]["dbName"], "epoch": "ms", "q": query})
    credentials = f"{source['basicAuthUser']}:{source['secureJsonData']['basicAuthPassword']}"
    request = urllib.request.Request(f"{address}/query?{asked}", method=source["jsonData"]["httpMode"])
    request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as response:
        series: list[object] = json.load(response)["results"][0].get("series", [])
    return series
