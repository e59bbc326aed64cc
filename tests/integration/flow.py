"""The flow as processes of their own, configured by the environment alone, and what it wrote to its topics."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from confluent_kafka import Message, Producer

from tests.servers.clients import read_topic
from tests.servers.kafka import Cluster
from tests.servers.process import free_ports

ROOT = Path(__file__).parent.parent.parent
TOPICS = {
    "TRANSACTION_TOPICS": "transactions",
    "LABEL_TOPIC": "fraud-labels",
    "RULE_TOPIC": "fraud-rules",
    "LIST_TOPIC": "fraud-lists",
    "MODEL_TOPIC": "fraud-models",
    "ALERT_TOPIC": "fraud-alerts",
    "MODEL_EVENT_TOPIC": "fraud-model-events",
    "STATS_TOPIC": "fraud-stats",
    "DLQ_TOPIC": "transactions-dlq",
}


class Pipeline:
    """Topics of its own on a cluster, a recovery directory, and the flow over them, in one process or several."""

    def __init__(self, kafka: Cluster, folder: Path, **settings: str) -> None:
        self.kafka = kafka
        self.folder = folder
        suffix = uuid4().hex[:8]
        self.topics = {setting: f"{name}-{suffix}" for setting, name in TOPICS.items()}
        for name in self.topics.values():
            kafka.create_topic(name)
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "KAFKA_GROUP": f"flow-{suffix}",
            "PAYSIM_START": "2024-12-01T00:00:00Z",
            "LABEL_DELAY": "1h",
            "LABEL_MATURITY": "2h",
            **self.topics,
            **settings,
        }
        self.recovery = folder / "recovery"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "flow.log"

    def send(self, messages: Iterable[Any], setting: str = "TRANSACTION_TOPICS") -> None:
        """Messages in order, keyed by their user; bytes as they are."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 1, "message.max.bytes": 2_000_000})
        for message in messages:
            value = message if isinstance(message, bytes) else orjson.dumps(message)
            key = b"none" if isinstance(message, bytes) else str(user_of(message)).encode()
            producer.produce(self.topics[setting], value, key)
            producer.poll(0)
        assert producer.flush(30) == 0

    def start(
        self, processes: int = 1, workers: int = 1, recover: bool = False, **settings: str
    ) -> list[subprocess.Popen[bytes]]:
        """The flow's own command; with `recover` with one-second epochs on the recovery directory."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        environment |= {f"FRAUD_{name}": value for name, value in {**self.settings, **settings}.items()}
        command = [sys.executable, "-m", "bytewax.run", "flows.fraud:get_flow", "-w", str(workers)]
        if recover:
            if not self.recovery.exists():
                self.recovery.mkdir()
                initialise = [sys.executable, "-m", "bytewax.recovery", str(self.recovery), "4"]
                subprocess.run(initialise, cwd=ROOT, check=True, timeout=60)
            command += ["-r", str(self.recovery), "-s", "1", "-b", "0"]
        addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(processes))
        started = []
        with self.log.open("ab") as log:
            for number in range(processes):
                member = ["-i", str(number), "-a", addresses] if processes > 1 else []
                started.append(subprocess.Popen([*command, *member], cwd=ROOT, env=environment, stdout=log, stderr=log))
        self.processes = [*(process for process in self.processes if process.poll() is None), *started]
        return started

    def wait(self, seconds: float = 60) -> list[int]:
        """The exit codes of all processes."""
        deadline = time.monotonic() + seconds
        return [process.wait(max(0.1, deadline - time.monotonic())) for process in self.processes]

    def run(self, **options: Any) -> None:
        """Work off what is there, and exit 0."""
        self.start(STOP_AT_END="true", **options)
        codes = self.wait()
        assert codes == [0] * len(codes), self.output()

    def end(self) -> None:
        """End what still runs, the hard way."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def output(self) -> str:
        """What the processes printed, its end."""
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    def read(self, setting: str) -> list[Message]:
        """All that a topic holds."""
        return read_topic(self.kafka, self.topics[setting])

    def records(self, setting: str) -> list[dict[str, Any]]:
        """All that a topic holds, as objects."""
        return [orjson.loads(message.value() or b"null") for message in self.read(setting)]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts."""
        return self.records("ALERT_TOPIC")

    def models(self, name: bytes | None = None) -> list[dict[str, Any]]:
        """Every publication under a model's own name, kept versions and commands left out."""
        found = [
            message for message in self.read("MODEL_TOPIC") if not {"@", "/"} & set((message.key() or b"").decode())
        ]
        return [orjson.loads(message.value() or b"null") for message in found if name in {None, message.key()}]

    def wait_for(self, setting: str, count: int, seconds: float = 30) -> None:
        """Until a topic holds `count` records."""
        deadline = time.monotonic() + seconds
        while len(self.read(setting)) < count:
            assert time.monotonic() < deadline, f"{setting} has not {count} records: {self.output()}"
            time.sleep(0.1)


@contextmanager
def pipeline(kafka: Cluster, **settings: str) -> Iterator[Pipeline]:
    """A pipeline whose processes end with the block."""
    with tempfile.TemporaryDirectory() as folder:
        made = Pipeline(kafka, Path(folder), **settings)
        try:
            yield made
        finally:
            made.end()


def user_of(message: Mapping[str, Any]) -> Any:
    """Who a message is about, in any format."""
    return next(
        (message[field] for field in ("userId", "customer_id", "nameOrig", "user_id") if field in message), "none"
    )


def by_rules(alerts: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The rules of each alert by its transaction."""
    return {alert["transaction_id"]: {rule["id"] for rule in alert["rules"]} for alert in alerts}
