"""A flow that begins with a first model: it alerts by score from the first event, and its trainer goes on from it."""

import os
import subprocess
import sys

import orjson

from fraudflow.first_models import read_first
from operators.model.first import FirstModel
from tests.integration.flow import ROOT, Pipeline, pipeline
from tests.servers.kafka import Cluster

MODEL = """
name = "amounts"
prior = 0.05
[learning]
most_frauds = 0.5
[[feature]]
name = "amount"
value = "amount"
transform = "bins"
bins = [100, 500]
"""
BEFORE, AFTER = 1_733_000_000_000, 1_733_400_000_000


def payment(number: int, start: int) -> dict[str, object]:
    """Every tenth is a fraud of a great amount, labelled on the spot."""
    fraud = number % 10 == 9
    amount = 900.0 if fraud else 20.0
    fields = {"transaction_id": f"{start}-{number}", "timestamp": start + number * 1_000}
    return {"userId": f"u{number % 7}", "amount": amount, "isFraud": fraud, **fields}


def train(flow: Pipeline) -> None:
    history = flow.folder / "history.jsonl"
    history.write_bytes(b"\n".join(orjson.dumps(payment(number, BEFORE)) for number in range(900)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    environment |= {f"FRAUD_{name}": value for name, value in flow.settings.items()}
    command = [sys.executable, "-m", "fraudflow", "train", str(history), "--publish"]
    command += ["--label-delay", "1m", "--output", str(flow.folder / "first.json")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True)


def test_the_first_event_is_alerted_by_score_and_learning_goes_on(kafka: Cluster):
    with pipeline(kafka, LABEL_DELAY="10s", LABEL_MATURITY="1h", SHARDS="1") as flow:
        flow.settings["MODEL_FILE"] = str(flow.folder / "model.toml")
        flow.settings["RULES_FILE"] = str(flow.folder / "rules.toml")
        (flow.folder / "model.toml").write_text(MODEL)
        (flow.folder / "rules.toml").write_text("")
        train(flow)
        first = read_first(flow.folder / "first.json").weights
        assert first.trained_on.examples == 900
        flow.send(payment(number, AFTER) for number in range(9, 400))
        flow.run()
        alerts = flow.alerts()
        frauds = {f"{AFTER}-{number}" for number in range(9, 400, 10)}
        assert {alert["transaction_id"] for alert in alerts} == frauds
        earliest = next(alert for alert in alerts if alert["transaction_id"] == f"{AFTER}-9")
        assert (earliest["rules"], earliest["model"]["version"]) == ([], first.version)
        records = [message.value() or b"" for message in flow.read("MODEL_TOPIC") if message.key() == b"amounts"]
        assert FirstModel.from_json(records[0]) is not None
        published = [orjson.loads(record) for record in records]
        assert published[-1]["version"] > first.version
        # The clock of labels stops at the last event: those of the last 10 seconds have not come.
        assert published[-1]["trained_on"]["examples"] == 900 + len(range(9, 390))
