"""Processes killed again and again under load: nothing lost, nothing repeated, and the state is an unbroken run's.

FRAUDFLOW_KILLS says how often; `make kills` does it 20 times.
"""

import os
import random
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from connectors.redo.named import verify
from flows.settings import Settings
from fraudflow.state.reading import Kept
from operators.decisions.alerts import alert_id
from tests.integration.flow import Pipeline, by_rules, pipeline
from tests.integration.test_flow import expected, some_messages
from tests.servers.kafka import Kafka

KILLS = int(os.environ.get("FRAUDFLOW_KILLS", "2"))
MESSAGES_A_KILL = 1500
# Enough of everything that is kept: windows of users and merchants, pending labels, the model; only rules decide.
SETTINGS = {"REVIEW_THRESHOLD": "1", "BLOCK_THRESHOLD": "1", "LABEL_MATURITY": "30d", "KEY_GROUPS": "8", "SHARDS": "2"}


def messages(count: int) -> list[dict[str, Any]]:
    chance = random.Random(7)
    sent = some_messages(count, seed=3)
    return [
        {**message, "merchant": f"m{chance.randrange(5)}"} if "customer_id" in message else message for message in sent
    ]


def state_of(flow: Pipeline) -> dict[str, Any]:
    """What is kept, without what hangs on how messages of several partitions meet."""
    assert verify(flow.recovery) > 0
    kept = Kept(flow.recovery, Settings())
    found: dict[str, Any] = {}
    for entity in ("user", "merchant"):
        for _, windows in kept.windows(entity):
            found |= {f"{entity} {key}": sorted(map(str, windows.events(key))) for key in windows.keys}
    joins = [join for _, join in kept.joins()]
    found["pending"] = sum(join.pending for join in joins)
    return found


@pytest.mark.servers
@pytest.mark.timeout(300 + 60 * KILLS)
def test_state_and_alerts_are_those_of_an_unbroken_run(real_kafka: Kafka, tmp_path: Path):
    sent = messages(KILLS * MESSAGES_A_KILL)
    wanted = expected(sent)
    with pipeline(real_kafka, **SETTINGS) as unbroken:
        unbroken.send(sent)
        unbroken.run(recover=True)
        state = state_of(unbroken)
    users = {next(m[f] for f in ("userId", "customer_id", "nameOrig") if f in m) for m in sent}
    assert {key for key in state if key.startswith("user ")} == {f"user {user}" for user in users}
    assert state["pending"] == len(sent)
    for processes in (1, 2):
        with pipeline(real_kafka, **SETTINGS) as flow:
            broken_run(flow, sent, processes)
            alerts = flow.alerts()
            assert by_rules(alerts) == wanted
            assert sorted(alert["alert_id"] for alert in alerts) == sorted(map(alert_id, wanted))
            assert state_of(flow) == state


def broken_run(flow: Pipeline, sent: list[dict[str, Any]], processes: int) -> None:
    """Killed at random moments while messages come, each time by other processes than before."""
    chance = random.Random(processes)
    feeder = Thread(target=feed, args=(flow, sent))
    feeder.start()
    for _ in range(KILLS):
        started = flow.start(recover=True, processes=processes)
        time.sleep(chance.uniform(2.5, 7))
        for process in chance.sample(started, len(started)):
            process.kill()
            process.wait()
    feeder.join()
    flow.start(recover=True, processes=processes, STOP_AT_END="true")
    assert flow.wait(180) == [0] * processes, flow.output()


def feed(flow: Pipeline, sent: list[dict[str, Any]]) -> None:
    for start in range(0, len(sent), 100):
        flow.send(sent[start : start + 100])
        time.sleep(5 * 100 / MESSAGES_A_KILL)
