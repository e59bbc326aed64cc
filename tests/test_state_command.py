"""`fraudflow state`: what a run has kept, looked at, checked, damaged, given up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.recovery_rows import resume
from tests.integration.flow import ROOT, Pipeline, by_rules, pipeline
from tests.integration.test_flow import expected, some_messages
from tests.servers.kafka import MockKafka

MESSAGES = some_messages(400)


@pytest.fixture(scope="module")
def flow() -> Iterator[Pipeline]:
    """A run that is over."""
    cluster = MockKafka()
    with pipeline(cluster, MODEL_FILE="", KEY_GROUPS="4") as made:
        made.send(MESSAGES)
        made.run(recover=True)
        yield made
    cluster.close()


def state(*arguments: str | Path, answer: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "BYTEWAX_"))}
    return subprocess.run(
        [sys.executable, "-m", "fraudflow", "state", *map(str, arguments)],
        cwd=ROOT,
        env={**environment, "FRAUD_MODEL_FILE": "", "COLUMNS": "160"},
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_inspect_tells_what_is_kept_for_each_step(flow: Pipeline):
    told = state("inspect", flow.recovery)
    assert told.returncode == 0, told.stderr
    rows = {line.split()[0]: line.split()[1:] for line in told.stdout.splitlines() if line.strip()}
    assert rows["user_windows"][0] == "4"
    assert int(rows["user_windows"][1].replace(",", "")) > 10_000
    assert rows["transactions_in"][0] == "4"
    assert "bases and" in told.stdout
    assert "a restart goes on with epoch" in told.stdout


def test_user_shows_the_events_and_the_features_as_of_the_last(flow: Pipeline):
    mine = [m for m in MESSAGES if "u1" in (m.get("userId"), m.get("customer_id"))]
    told = state("user", "u1", flow.recovery)
    assert told.returncode == 0, told.stderr
    assert f"u1: {len(mine)} events" in told.stdout
    assert told.stdout.count("\n2024-12-0") == len(mine)
    features = dict(line.split()[:2] for line in told.stdout.split("features as of the last event")[1].splitlines()[1:])
    times = sorted(m["timestamp"] for m in mine)
    assert set(features) >= {"count_1m", "count_tumbling_1m", "distinct_location_5m"}
    assert 1 <= int(features["count_tumbling_1m"]) <= len([t for t in times if t[:16] == times[-1][:16]])


def test_a_user_that_is_not_there_is_told(flow: Pipeline):
    told = state("user", "nobody", flow.recovery)
    assert (told.returncode, told.stderr) == (1, f"{flow.recovery} keeps no event of user nobody\n")


@pytest.mark.parametrize("command", ["inspect", "verify", "reset", "user"])
def test_what_is_no_recovery_directory_is_told(tmp_path: Path, command: str):
    told = state(*([command, "u1"] if command == "user" else [command]), tmp_path)
    assert (told.returncode, told.stdout) == (1, "")
    assert f"{tmp_path} is no recovery directory" in told.stderr


def test_a_directory_in_use_is_not_reset(flow: Pipeline):
    (process,) = flow.start(recover=True)
    try:
        while not (flow.recovery / "owner-0.lock").read_text().startswith(str(process.pid)):
            assert process.poll() is None, flow.output()
        told = state("reset", flow.recovery, "--yes")
        assert told.returncode == 1
        assert f"is in use by process {process.pid}" in told.stderr
    finally:
        process.terminate()
        assert process.wait(60) == 0, flow.output()
    assert state("verify", flow.recovery).returncode == 0


def test_damage_is_found_refused_at_the_start_and_given_up(flow: Pipeline):
    """Last: it resets the directory. What was alerted on before is not written again."""
    path = max((flow.recovery / "state").iterdir(), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])
    told = state("verify", flow.recovery)
    assert told.returncode == 1
    assert f"{path} was cut off" in told.stderr
    flow.start(recover=True)
    assert flow.wait() == [2]
    said = [line for line in flow.output().splitlines() if line.startswith("fraudflow cannot start")]
    assert len(said) == 1
    assert f"{path} was cut off" in said[0]
    assert "python -m fraudflow state reset" in said[0]

    told = state("reset", flow.recovery, answer="n\n")
    assert told.returncode == 1
    assert resume(flow.recovery).rows
    told = state("reset", flow.recovery, answer="y\n")
    assert told.returncode == 0, told.stderr
    assert resume(flow.recovery).rows == []
    assert not list((flow.recovery / "state").iterdir())
    flow.run(recover=True)
    alerts = flow.alerts()
    assert by_rules(alerts) == expected(MESSAGES)
    assert len(alerts) == len(expected(MESSAGES))
