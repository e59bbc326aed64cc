"""Apache Kafka (KRaft, one node) from Maven Central, and librdkafka's mock cluster, behind the same few methods."""

import base64
import os
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.servers.process import Server, ServerMissing, cached, free_ports, run_tool, tool

POM = Path(__file__).parent / "kafka" / "pom.xml"

_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
"""


class Cluster(Protocol):
    """What tests need of a cluster of either kind."""

    bootstrap: str

    def create_topic(self, name: str, partitions: int = 4, **settings: str) -> None:
        """Make an empty topic."""


class MockKafka:
    """librdkafka's mock cluster, inside this process. Every topic has 4 partitions; nothing is kept; no admin calls."""

    def __init__(self, brokers: int = 1) -> None:
        self._producer: Producer | None = Producer(
            {"test.mock.num.brokers": brokers, "bootstrap.servers": "mock", "log_level": 3}
        )
        metadata = self._producer.list_topics(timeout=10)
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())

    def create_topic(self, name: str, partitions: int = 4, **settings: str) -> None:
        """Make an empty topic: the mock does when it is asked about one."""
        assert (partitions, settings) == (4, {}), "the mock cluster can't do that"
        assert self._producer is not None
        self._producer.list_topics(topic=name, timeout=10)

    def close(self) -> None:
        """The cluster is gone."""
        self._producer = None


class Kafka(Server):
    """A real broker. `settings` are added to its server.properties; `{port}` and `{extra}` in them are its ports.

    One that is `lasting`, for a benchmark, has both compilers: it starts more slowly and is fast when it is warm.
    """

    name = "kafka"
    java_options: tuple[str, ...] = ()
    cluster_id = ""
    """Of a cluster of several nodes, whose settings name the voters; else this node is one of its own."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, format_options: tuple[str, ...] = (), *, lasting: bool = False
    ) -> None:
        super().__init__()
        self._settings = dict(settings or {})
        self._format_options = format_options
        self._compilers = () if lasting else ("-XX:TieredStopAtLevel=1",)
        self._libs = Path()
        self.bootstrap = ""
        self.extra_port = 0
        """A port for another listener, for instance with TLS."""

    def prepare(self) -> None:
        """Fetch the jars, write the configuration, format the log."""
        tool("java", "a real Kafka")
        self._libs = cached("kafka", [POM], _fetch)
        port, controller, self.extra_port = free_ports(3)
        self.bootstrap = f"127.0.0.1:{port}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # A broker that comes back after SIGKILL is let in only when its old session is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            # Test data carry old timestamps, which the usual retention would delete.
            "log.retention.ms": "-1",
            "log.retention.check.interval.ms": "500",
            "log.initial.task.delay.ms": "500",
        }
        for key, value in self._settings.items():
            properties[key] = value.format(port=port, extra=self.extra_port, controller=controller)
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        cluster = ["-t", self.cluster_id] if self.cluster_id else ["--standalone", "-t", new_cluster_id()]
        options = ["format", *cluster, "-c", "server.properties", *self._format_options]
        command, environment = self._java("kafka.tools.StorageTool", *options)
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"formatting Kafka's log failed: {done.stdout}{done.stderr}")

    def _java(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        log4j = f"-Dlog4j2.configurationFile={(self.folder / 'log4j2.properties').as_uri()}"
        # The fast compiler alone: a test broker is up sooner and never lives long enough for the other.
        options = ["-Xmx512m", *self._compilers, "-XX:+UseSerialGC", log4j, *self.java_options]
        return ["java", *options, *arguments], {"CLASSPATH": f"{self._libs}/*"}

    def command(self) -> tuple[list[str], dict[str, str]]:
        """The broker."""
        return self._java("kafka.Kafka", "server.properties")

    def is_ready(self) -> bool:
        """Whether it is a broker of its own cluster."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def address(self) -> str:
        """FRAUD_KAFKA_BOOTSTRAP_SERVERS."""
        return self.bootstrap

    def admin(self) -> AdminClient:
        """A client to make and delete topics with."""
        return AdminClient({"bootstrap.servers": self.bootstrap})

    def create_topic(self, name: str, partitions: int = 4, **settings: str) -> None:
        """Make an empty topic and wait until it can be written; `cleanup_policy` stands for `cleanup.policy`."""
        config = {key.replace("_", "."): value for key, value in settings.items()}
        admin = self.admin()
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()
        self.wait_until(lambda: name in admin.list_topics(timeout=5).topics)

    def add_partitions(self, name: str, total: int) -> None:
        """Give a topic more partitions and wait until they can be written."""
        admin = self.admin()
        admin.create_partitions([NewPartitions(name, total)])[name].result()
        self.wait_until(lambda: len(admin.list_topics(name, timeout=5).topics[name].partitions) == total)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        admin = self.admin()
        admin.delete_topics([name])[name].result()
        self.wait_until(lambda: name not in admin.list_topics(timeout=5).topics)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete what a partition holds before an offset, as retention does."""
        admin = self.admin()
        place = TopicPartition(topic, partition, before)
        admin.delete_records([place])[place].result()

    def topic_setting(self, topic: str, name: str) -> str | None:
        """A setting of a topic, as the broker has it."""
        admin = self.admin()
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        value: str | None = admin.describe_configs([resource])[resource].result()[name].value
        return value

    @staticmethod
    def wait_until(holds: Any, seconds: float = 15.0) -> None:
        """Ask until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)


def new_cluster_id() -> str:
    """A random one, which does not begin like an option."""
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _fetch(folder: Path) -> None:
    maven = tool("mvn", "a real Kafka")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    run_tool(command, "Kafka", POM.parent)
    if not any(folder.glob("kafka_*.jar")):
        raise ServerMissing("Kafka could not be fetched: Maven copied no jar")
