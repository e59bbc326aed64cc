"""What the README says is what happens: its commands are run, its snippets read."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from operators.features.plan import Plan
from operators.rules import parse_rules
from operators.transactions.formats import Limits, read_transaction
from tests.servers.clients import read_topic
from tests.servers.kafka import Kafka

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def messages() -> list[dict]:
    return [orjson.loads(line) for block in blocks("json") for line in block.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository as a clone has it, in a folder where a command may leave things."""
    for name in os.listdir(ROOT):
        if not name.startswith(".") and name not in ("recovery", "reports", "tests"):
            (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")} | more


def command(line: str) -> list[str]:
    """A command line of the README with this interpreter."""
    words = line.split("  #", maxsplit=1)[0].split()
    assert words[0] == ".venv/bin/python", line
    return [sys.executable, *words[1:]]


def test_the_messages_are_of_the_three_formats():
    limits = Limits()
    read = [read_transaction(message, "id", None, limits)[0].format for message in messages()]
    assert read == ["simple", "card", "paysim"]


def test_the_rule_is_one():
    (text,) = blocks("toml")
    rules = parse_rules(text)
    rules.compile(Plan.of(rules.names, allowed_lateness=0).name)


def test_the_features_that_are_named_exist():
    named = re.findall(r"`([a-z]+(?:_[a-z]+)*_[0-9]+[a-z](?:_[a-z]+)*|[a-z_]+_tumbling_[0-9]+[a-z])`", README)
    assert len(named) >= 5
    Plan.of(named, allowed_lateness=0)


def test_the_two_commands_are_targets_of_make():
    for line in blocks("sh")[0].splitlines():
        target = line.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_evaluate_writes_its_report(checkout: Path):
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if " evaluate " in line]
    done = subprocess.run(
        command(line), cwd=checkout, env=environment(), check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "reports/paysim/scores.csv").is_file()
    assert (checkout / "reports/paysim/metrics.json").is_file()


@pytest.mark.servers
def test_on_your_own_kafka(own_kafka: Kafka, checkout: Path):
    """Line by line, with a broker that has no topics yet; then the README's messages, of which two raise alerts."""
    (block,) = [block for block in blocks("sh") if "topics create" in block]
    settings = environment(FRAUD_KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap)
    lines = block.splitlines()
    assert lines[0] == "make setup"
    assert lines[1] == "export FRAUD_KAFKA_BOOTSTRAP_SERVERS=localhost:9092"
    for line in lines[2:-1]:
        for part in line.split(" && "):
            words = part.split() if part.startswith("mkdir") else command(part)
            subprocess.run(words, cwd=checkout, env=settings, check=True, capture_output=True, timeout=60)
    for name in ("fraud-rules", "fraud-lists", "fraud-models"):
        assert own_kafka.topic_setting(name, "cleanup.policy") == "compact"
    flow = subprocess.Popen(command(lines[-1]), cwd=checkout, env=settings, stderr=subprocess.PIPE, text=True)
    try:
        producer = Producer({"bootstrap.servers": own_kafka.bootstrap})
        for message in messages():
            producer.produce("transactions", orjson.dumps(message))
        assert producer.flush(20) == 0
        deadline = time.monotonic() + 40
        while len(read_topic(own_kafka, "fraud-alerts")) < 2:
            assert time.monotonic() < deadline, "no alert came"
            assert flow.poll() is None, flow.stderr.read() if flow.stderr else ""
            time.sleep(0.2)
        fired = {rule["id"] for m in read_topic(own_kafka, "fraud-alerts") for rule in orjson.loads(m.value())["rules"]}
        assert fired == {"high_amount", "large_transfer"}
        flow.terminate()
        assert flow.wait(30) == 0
    finally:
        if flow.poll() is None:
            flow.kill()
        flow.wait()
