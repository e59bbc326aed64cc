"""An InfluxDB that the flow itself has filled, from simulated traffic with frauds, labels and bad messages in it."""

import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from flows.settings import Settings
from fraudflow.topics import wanted_topics
from tests.servers.influxdb import BUCKET, InfluxDB
from tests.servers.kafka import MockKafka

ROOT = Path(__file__).parent.parent.parent
FORMATS = ("card", "simple", "card")
SIMULATION = "--rate=1500 --seconds=2 --users=20000 --fraud-share=0.05 --label-delay=500ms --malformed-share=0.02"


class Filled(NamedTuple):
    """A running server, and the event times between which the points lie."""

    url: str
    database: str
    first_ms: int
    last_ms: int

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series that an InfluxQL query gives; what the server finds wrong with it fails the test."""
        return influxql(self.url, self.database, text)


def influxql(url: str, database: str, text: str) -> list[dict[str, Any]]:
    """Ask as Grafana does: `/query`, times in milliseconds."""
    asked = urllib.parse.urlencode({"db": database, "epoch": "ms", "q": text})
    with urllib.request.urlopen(f"{url}/query?{asked}", timeout=30) as response:
        result = json.load(response)["results"][0]
    assert "error" not in result, f"{result['error']}: {text}"
    series: list[dict[str, Any]] = result.get("series", [])
    return series


@contextmanager
def filled_influx(server: InfluxDB) -> Iterator[Filled]:
    """The flow runs several times on one recovery directory: each run scores with what those before have learned, and
    compares the challenger, which learns until the last."""
    with TemporaryDirectory() as recovery:
        cluster = MockKafka()
        for topic in wanted_topics(Settings(), partitions=4, replication=1):
            cluster.create_topic(topic.name)
        kafka = {"FRAUD_KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap}
        model = Path(recovery) / "model.toml"
        # The shipped one, but for drift to be measured on a few hundred examples already, and with a challenger.
        shipped = (ROOT / "model.toml").read_text().replace("window = 10_000", "window = 600")
        model.write_text(f'{shipped}\n[[challenger]]\nname = "quick"\nlearning = {{ rate = 0.2 }}\n')
        settings = {
            **kafka,
            "FRAUD_MODEL_FILE": str(model),
            "FRAUD_STOP_AT_END": "true",
            "FRAUD_INFLUX_URL": server.url,
            "FRAUD_INFLUX_TOKEN": "any:token",
            "FRAUD_INFLUX_BUCKET": BUCKET,
            "FRAUD_LABEL_DELAY": "500ms",
            "FRAUD_LABEL_MATURITY": "1s",
        }
        began = int(time.time() * 1000)
        _run("bytewax.recovery", recovery, "4")
        for number, form in enumerate(FORMATS):
            if number == len(FORMATS) - 1:
                _run("fraudflow", "model", "freeze", "quick", "--reason=to see it", settings=kafka)
            _run("fraudflow", "simulate", f"--format={form}", *SIMULATION.split(), settings=kafka)
            _run("bytewax.run", "flows.fraud:get_flow", "-r", recovery, "-s", "1", "-b", "0", settings=settings)
        yield Filled(server.url, BUCKET, began - 60_000, int(time.time() * 1000) + 60_000)
        cluster.close()


def _run(module: str, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**inherited, **(settings or {})},
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, f"{module} {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
