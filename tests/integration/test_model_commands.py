"""Models frozen, rolled back, promoted, switched off and failing under load, in two processes, watched from outside."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from tests.integration.flow import ROOT, Pipeline, pipeline
from tests.servers.kafka import Kafka

MODEL = """
name = "m"
prior = 0.05
[learning]
most_frauds = 0.5
[publish]
first = 50
examples = 100
seconds = 1
[safety]
after = 300
window = 1_000
[[feature]]
name = "amount"
value = "amount"
transform = "bins"
bins = [50, 100, 200, 400]
[[challenger]]
name = "n"
learning = { rate = 0.2 }
"""
RULES = '[[rule]]\nid = "huge"\nwhen = "amount > 600"\n'
USERS = 16


class Load(threading.Thread):
    """Card transactions, a tenth of them frauds with large amounts (until they `hide`), each with its label in it,
    without a pause."""

    def __init__(self, flow: Pipeline) -> None:
        super().__init__(daemon=True)
        self.flow = flow
        self.sent: list[float] = []  # the amounts
        self.over = threading.Event()
        self.hide = threading.Event()

    def run(self) -> None:
        chance = random.Random(3)
        producer = Producer({"bootstrap.servers": self.flow.kafka.bootstrap, "linger.ms": 1})
        while not self.over.is_set():
            for _ in range(5):
                fraud = chance.random() < 0.1
                large = fraud and not self.hide.is_set()
                amount = chance.uniform(450, 1000) if large else chance.uniform(1, 350)
                number = len(self.sent)
                seconds, user = 1_733_000_000 + number, f"c{number % USERS}"
                message = {"transaction_id": f"t{number}", "customer_id": user, "amount": amount, "timestamp": seconds}
                self.sent.append(amount)
                value = orjson.dumps({**message, "is_fraud": int(fraud)})
                producer.produce(self.flow.topics["TRANSACTION_TOPICS"], value, user.encode())
            producer.poll(0)
            time.sleep(0.02)
        assert producer.flush(30) == 0

    def finish(self) -> None:
        self.over.set()
        self.join(40)


def command(flow: Pipeline, *arguments: str, code: int = 0) -> str:
    """`fraudflow model …` as an analyst runs it: what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    environment |= {f"FRAUD_{name}": value for name, value in flow.settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "fraudflow", "model", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_until(flow: Pipeline, holds: Callable[[], Any], seconds: float = 150) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, flow.output()
        time.sleep(0.5)
    return found


def events(flow: Pipeline) -> list[dict[str, Any]]:
    return flow.records("MODEL_EVENT_TOPIC")


def event(flow: Pipeline, name: str) -> dict[str, Any]:
    """The last event of that name; waits for it."""
    last: dict[str, Any] = wait_until(flow, lambda: [one for one in events(flow) if one["event"] == name])[-1]
    return last


def reaches(flow: Pipeline, load: Load, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Something holds for each user's alerts from some moment on, and before it they were judged: however busy the
    machine is, once it holds for a user it must not cease."""
    since = len(load.sent)

    def by_user() -> dict[str, list[bool]]:
        held: dict[str, list[bool]] = {}
        new = [alert for alert in flow.alerts() if number_of(alert) >= since]
        for alert in sorted(new, key=number_of):
            held.setdefault(alert["user_id"], []).append(holds(alert))
        return held

    wait_until(flow, lambda: sum(any(held) for held in by_user().values()) == USERS)
    for user, held in by_user().items():
        assert all(held[held.index(True) :]), (user, held)


def number_of(alert: dict[str, Any]) -> int:
    return int(alert["transaction_id"].removeprefix("t"))


def version_is(wanted: Callable[[int], bool]) -> Callable[[dict[str, Any]], bool]:
    def holds(alert: dict[str, Any]) -> bool:
        model = alert["model"]
        return model is not None and model["name"] == "m" and wanted(model["version"])

    return holds


def fails(flow: Pipeline, load: Load) -> None:
    """Frauds look like everything else from one moment on: drift is told, and what fails is put aside by itself."""
    load.hide.set()

    def drifted() -> list[dict[str, Any]]:
        return [one for one in events(flow) if (one["event"], one["model"]) == ("drift", "m")]

    def acted() -> list[dict[str, Any]]:
        return [one for one in events(flow) if one["by"] == "fraudflow" and one["event"] != "better"]

    message = wait_until(flow, drifted)[-1]["message"]
    assert "score lower" in message or "score higher" in message or "rose" in message
    first = wait_until(flow, acted)[0]
    assert first["event"] in {"rolled_back", "rules_only"}
    assert "times that of always saying their share" in first["reason"]


@pytest.mark.timeout(900)
def test_commands_hold_in_every_shard_and_over_restarts(real_kafka: Kafka, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(MODEL)
    (tmp_path / "rules.toml").write_text(RULES)
    files = {"MODEL_FILE": str(tmp_path / "model.toml"), "RULES_FILE": str(tmp_path / "rules.toml")}
    with pipeline(real_kafka, **files, LABEL_DELAY="10s", LABEL_MATURITY="1m") as flow:
        flow.start(processes=2, recover=True)
        load = Load(flow)
        load.start()
        wait_until(flow, lambda: len(flow.models(b"m")) >= 12)
        reaches(flow, load, lambda alert: bool(alert["model"]) and alert["model"]["version"] >= 3)

        command(flow, "freeze", "m", "--reason", "labels look wrong", "--by", "ana")
        frozen = event(flow, "frozen")
        assert (frozen["by"], frozen["reason"], frozen["model"]) == ("ana", "labels look wrong", "m")
        reaches(flow, load, version_is(lambda version: version == frozen["version"]))
        published, others = len(flow.models(b"m")), len(flow.models(b"n"))
        wait_until(flow, lambda: len(flow.models(b"n")) > others + 2)
        assert len(flow.models(b"m")) == published

        told = json.loads(command(flow, "show", "m", "--json"))
        assert told["frozen"]["reason"] == "labels look wrong"
        target = [one["version"] for one in told["kept"]][-1]
        assert target < frozen["version"]
        command(flow, "rollback", "m", str(target), "--reason", "false alarms since", "--by", "ana")
        assert event(flow, "rolled_back")["version"] == target
        reaches(flow, load, version_is(lambda version: version == target))
        assert flow.models(b"m")[-1]["version"] == target

        # Killed, and begun again without any state, at what comes now: the topic keeps the command.
        flow.end()
        flow.recovery = tmp_path / "other"
        started = flow.start(processes=2, recover=True, START_FROM="latest")
        reaches(flow, load, version_is(lambda version: version == target))

        command(flow, "rules-only", "--reason", "an attack")
        event(flow, "rules_only")
        reaches(flow, load, lambda alert: alert["model"] is alert["risk_score"] is None and len(alert["rules"]) == 1)
        assert "rules alone decide" in command(flow, "list")

        command(flow, "promote", "n", "--reason", "let us see")
        command(flow, "resume", "--reason", "over")
        assert event(flow, "resumed")["reason"] == "over"
        reaches(flow, load, lambda alert: bool(alert["model"]) and alert["model"]["name"] == "n")
        told = json.loads(command(flow, "list", "--json"))
        assert {one["model"]: one["role"] for one in told["models"]} == {"m": "challenger", "n": "champion"}
        command(flow, "unfreeze", "m", "--reason", "labels are right again")
        command(flow, "promote", "m", "--reason", "seen")
        event(flow, "unfrozen")
        reaches(flow, load, version_is(lambda version: version > target))

        fails(flow, load)
        load.finish()
        for process in started:
            process.send_signal(signal.SIGTERM)
        assert flow.wait(60) == [0, 0], flow.output()
        assert "no model 'nobody'" in command(flow, "freeze", "nobody", "--reason", "x", code=1)
        assert "is not kept" in command(flow, "rollback", "m", "99999", "--reason", "x", code=1)
