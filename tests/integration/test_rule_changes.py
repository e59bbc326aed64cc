"""Rules and lists changed under load, with two processes: every decision is explained by a version in force."""

import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from confluent_kafka import Producer

from operators.expressions import GLOBALS, Name, compile_condition, parse
from operators.rules import Rule, known_name, parse_rules
from operators.rules.rule_set import rule_of
from tests.integration.flow import Pipeline, by_rules, pipeline
from tests.servers.kafka import Cluster

RULES = """
[[rule]]
id = "huge"
when = "amount > 900"
[[rule]]
id = "probe"
when = 'amount > 500 and count_1m > 0 and user_id not in list("trusted")'
[[rule]]
id = "listed"
when = 'user_id in list("blocked")'
severity = "critical"
decision = "block"
"""
SETTLE_S = 1.5
"""After so long, at least, a change is in force in every shard."""

Versions = dict[str, int]
"""The version of each rule that fires."""


class Phase(NamedTuple):
    """A message, and what every transaction must give once it is in force."""

    topic: str
    key: str
    value: Any
    event: str
    fires: Callable[[str, float], Versions]


def versions(user: str, amount: float, *, probe: tuple[int, float], trusted: str = "", blocked: str = "") -> Versions:
    """What fires, said plainly: version and limit of `probe` (version 0: it is a shadow), who is on which list."""
    version, limit = probe
    fired = {"huge": 1} if amount > 900 else {}
    if version and amount > limit and user != trusted:
        fired["probe"] = version
    if user == blocked:
        fired["listed"] = 1
    return fired


def with_small(fired: Versions, amount: float) -> Versions:
    return fired | ({"small": 1} if amount < 20 else {})


def without_huge(fired: Versions) -> Versions:
    return {rule: version for rule, version in fired.items() if rule != "huge"}


PROBE = {"id": "probe", "when": 'amount > 300 and user_id not in list("trusted")'}
V1, V2, V4 = {"probe": (1, 500.0)}, {"probe": (2, 300.0)}, {"probe": (4, 300.0)}
TRUST, BLOCK = {"trusted": "u3"}, {"trusted": "u3", "blocked": "u5"}
SHADOW, LAST = {"probe": (0, 0.0), **BLOCK}, {"blocked": "u5"}

SESSION = [
    Phase("RULE_TOPIC", "probe", {**PROBE, "version": 2}, "rule_changed", lambda u, a: versions(u, a, **V2)),
    Phase("RULE_TOPIC", "probe", b"{nonsense", "rule_refused", lambda u, a: versions(u, a, **V2)),
    Phase("RULE_TOPIC", "probe", {"when": "amont > 1"}, "rule_refused", lambda u, a: versions(u, a, **V2)),
    Phase("LIST_TOPIC", "trusted/u3", {"list": "trusted", "value": "u3"}, "list_changed",
          lambda u, a: versions(u, a, **V2, **TRUST)),
    Phase("LIST_TOPIC", "blocked/u5", {"list": "blocked", "value": "u5", "expires_at": "2999-01-01T00:00:00Z"},
          "list_changed", lambda u, a: versions(u, a, **V2, **BLOCK)),
    Phase("RULE_TOPIC", "small", {"when": "amount < 20"}, "rule_changed",
          lambda u, a: with_small(versions(u, a, **V2, **BLOCK), a)),
    Phase("RULE_TOPIC", "wide", {"when": "count_5m > 0 and amount > 990"}, "rule_refused",
          lambda u, a: with_small(versions(u, a, **V2, **BLOCK), a)),
    Phase("RULE_TOPIC", "probe", {**PROBE, "version": 3, "mode": "shadow"}, "rule_changed",
          lambda u, a: with_small(versions(u, a, **SHADOW), a)),
    Phase("RULE_TOPIC", "huge", None, "rule_changed",
          lambda u, a: with_small(without_huge(versions(u, a, **SHADOW)), a)),
    Phase("LIST_TOPIC", "trusted", {"list": "trusted", "value": "u4"}, "list_refused",
          lambda u, a: with_small(without_huge(versions(u, a, **SHADOW)), a)),
    Phase("RULE_TOPIC", "probe", {**PROBE, "version": 4, "decision": "block"}, "rule_changed",
          lambda u, a: with_small(without_huge(versions(u, a, **V4, **BLOCK)), a)),
    Phase("LIST_TOPIC", "trusted/u3", None, "list_changed",
          lambda u, a: with_small(without_huge(versions(u, a, **V4, **LAST)), a)),
    Phase("RULE_TOPIC", "small", b"", "rule_changed", lambda u, a: without_huge(versions(u, a, **V4, **LAST))),
]  # fmt: skip


def published_rules() -> dict[tuple[str, int], Rule]:
    """Every rule that was ever in force, by id and version: of the file and the session; `wide` after a restart."""
    rules = {(rule.id, rule.version): rule for rule in parse_rules(RULES).rules}
    for phase in SESSION:
        if isinstance(phase.value, dict) and (phase.event == "rule_changed" or phase.key == "wide"):
            rule = rule_of({**phase.value, "id": phase.key}, phase.key)
            rules[rule.id, rule.version] = rule
    return rules


def check_evidence(alerts: list[dict[str, Any]]) -> None:
    """Each hit holds what its version of the rule asks and makes its condition true; the alert decides as they say."""
    rules = published_rules()
    for alert in alerts:
        for hit in alert["rules"]:
            rule = rules[hit["id"], hit["version"]]
            assert list(hit["evidence"]) == list(rule.names)
            assert hit["severity"] == rule.severity
            known = {name: Name(name, known_name(name).kind, True) for name in rule.names}
            asked: list[str] = []
            condition = compile_condition(parse(rule.when), known.__getitem__, lists=asked)
            held = {} if "not in list" in rule.when else {alert["user_id"]: 2}  # which lists hold what, the phases say
            scope = {**GLOBALS, **{f"_list{number}": held.get for number in range(len(asked))}, "t": Now}
            assert eval(condition, scope, hit["evidence"]), hit
        decided = [rules[hit["id"], hit["version"]].decision for hit in alert["rules"]]
        assert alert["decision"] == ("block" if "block" in decided else "review")


class Now:
    event_time = 1


def after_restart(user: str, amount: float) -> Versions:
    """The last of the session, and the rule that needed a window."""
    fired = SESSION[-1].fires(user, amount)
    return fired | ({"wide": 1} if amount > 990 else {})


class Load(threading.Thread):
    """Sends transactions of few users without a pause, and knows when each was sent."""

    def __init__(self, flow: Pipeline, name: str) -> None:
        super().__init__(daemon=True)
        self.flow, self.name_of = flow, name
        self.sent: list[tuple[str, str, float, float]] = []
        self.over = threading.Event()

    def run(self) -> None:
        chance = random.Random(11)
        producer = Producer({"bootstrap.servers": self.flow.kafka.bootstrap, "linger.ms": 1})
        while not self.over.is_set():
            for _ in range(5):
                user, amount = f"u{chance.randrange(12)}", round(chance.uniform(0, 1000), 2)
                identity = f"{self.name_of}-{len(self.sent)}"
                at = datetime.now(UTC).isoformat()
                message = {"userId": user, "amount": amount, "timestamp": at, "transaction_id": identity}
                self.sent.append((identity, user, amount, time.time()))
                producer.produce(self.flow.topics["TRANSACTION_TOPICS"], orjson.dumps(message), user.encode())
            producer.poll(0)
            time.sleep(0.02)
        assert producer.flush(30) == 0

    def finish(self) -> None:
        self.over.set()
        self.join(40)


def publish(flow: Pipeline, topic: str, key: str, value: Any) -> None:
    producer = Producer({"bootstrap.servers": flow.kafka.bootstrap, "linger.ms": 1})
    data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    producer.produce(flow.topics[topic], data, key.encode())
    assert producer.flush(30) == 0


def fired_versions(alerts: list[dict[str, Any]]) -> dict[str, Versions]:
    return {alert["transaction_id"]: {rule["id"]: rule["version"] for rule in alert["rules"]} for alert in alerts}


def check_explained(
    load: Load, actual: dict[str, Versions], phases: list[tuple[float, float, Callable[[str, float], Versions]]]
) -> set[int]:
    """Each transaction has what some phase says that can be in force for it; for a user phases only go forward."""
    reached: dict[str, int] = defaultdict(int)
    used = set()
    for identity, user, amount, sent in load.sent:
        settled = max((i for i, (began, settle, _) in enumerate(phases) if began + settle <= sent), default=0)
        # What was on its way when a message came may be judged by the new set already.
        latest = max(i for i, (began, settle, _) in enumerate(phases) if began <= sent + 2 * settle)
        possible = range(max(settled, reached[user]), latest + 1)
        fitting = [i for i in possible if phases[i][2](user, amount) == actual.get(identity, {})]
        assert fitting, (identity, user, amount, actual.get(identity), list(possible))
        reached[user] = fitting[0]
        used.add(fitting[0])
    return used


@pytest.mark.timeout(300)
def test_every_alert_is_explained_by_a_version_in_force(kafka: Cluster, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    with pipeline(kafka, MODEL_FILE="", RULES_FILE=str(rules)) as flow:
        started = flow.start(processes=2, recover=True)
        load = Load(flow, "a")
        phases = [(0.0, SETTLE_S, lambda user, amount: versions(user, amount, **V1))]
        load.start()
        flow.wait_for("ALERT_TOPIC", 20, seconds=90)
        for number, phase in enumerate(SESSION, 1):
            began = time.time()
            publish(flow, phase.topic, phase.key, phase.value)
            flow.wait_for("MODEL_EVENT_TOPIC", number, seconds=60)
            settle = max(SETTLE_S, 3 * (time.time() - began))  # a busy machine takes longer for everything
            phases.append((began, settle, phase.fires))
            time.sleep(began + settle + 0.5 - time.time())
        load.finish()
        phases.append((time.time(), max(settle for _, settle, _ in phases), after_restart))
        for process in started:
            process.send_signal(signal.SIGTERM)
        assert flow.wait(90) == [0, 0], flow.output()
        flow.run(processes=2, recover=True)  # what the drain left in the topic is judged after the restart
        used = check_explained(load, fired_versions(flow.alerts()), phases)
        assert len(used) >= 9  # phases that change nothing can't be told from the one before
        events = flow.records("MODEL_EVENT_TOPIC")
        named = {phase.key.partition("/")[0] for phase in SESSION}
        assert {event.get("rule") or event["list"] for event in events} == named
        assert sorted(event["event"] for event in events) == sorted(phase.event for phase in SESSION)

        # A restart has the rules that were in force, and the one that needed a window.
        before = set(fired_versions(flow.alerts()))
        more = Load(flow, "b")
        more.start()
        time.sleep(1.5)
        more.finish()
        flow.run(workers=2, recover=True)
        fired = {id: rules for id, rules in fired_versions(flow.alerts()).items() if id not in before}
        assert fired == {id: found for id, user, amount, _ in more.sent if (found := after_restart(user, amount))}
        assert any("wide" in rules for rules in fired.values())
        check_evidence(flow.alerts())
        assert len(flow.records("MODEL_EVENT_TOPIC")) == len(SESSION)
        told = [record for record in flow.records("STATS_TOPIC") if record["fields"].get("rejected")]
        for reason in ("rule_refused", "list_refused"):
            counted = sum(one["fields"]["rejected"] for one in told if one["tags"].get("reason") == reason)
            assert counted == sum(phase.event == reason for phase in SESSION)


def message(identity: str, amount: float, user: str = "u1") -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    return {"userId": user, "amount": amount, "timestamp": at, "transaction_id": identity}


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"processes": 2}], ids=str)
def test_with_an_end_the_topics_rules_are_in_force_from_the_first_transaction(
    kafka: Cluster, tmp_path: Path, options: dict[str, int]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    with pipeline(kafka, MODEL_FILE="", RULES_FILE=str(rules)) as flow:
        flow.send([message(f"t{i}", 10.0 * i, f"u{i}") for i in range(100)])
        publish(flow, "RULE_TOPIC", "probe", {"version": 2, "when": "count_2h_by_format > 0 and amount > 700"})
        publish(flow, "RULE_TOPIC", "huge", None)
        publish(flow, "LIST_TOPIC", "blocked/u7", {"list": "blocked", "value": "u7"})
        flow.run(**options)
        wanted = {f"t{i}": {"probe"} for i in range(71, 100)} | {"t7": {"listed"}}
        assert by_rules(flow.alerts()) == wanted
        events = flow.records("MODEL_EVENT_TOPIC")
        assert sorted(event["event"] for event in events) == ["list_changed", "rule_changed", "rule_changed"]


def test_a_kill_keeps_what_was_in_force(mock_kafka: Cluster, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    with pipeline(mock_kafka, MODEL_FILE="", RULES_FILE=str(rules)) as flow:
        (process,) = flow.start(recover=True)
        publish(flow, "RULE_TOPIC", "probe", {"version": 2, "when": "amount > 5"})
        publish(flow, "RULE_TOPIC", "probe", b"nonsense")
        flow.wait_for("MODEL_EVENT_TOPIC", 2)
        time.sleep(2.5)
        process.kill()
        process.wait()
        flow.send([message("t1", 6)])
        flow.run(recover=True)
        assert fired_versions(flow.alerts()) == {"t1": {"probe": 2}}


def at(hour: float, amount: float, user: str = "u1") -> dict[str, Any]:
    time_of_day = datetime.fromtimestamp(1_733_300_000 + hour * 3600, UTC).isoformat()
    return {
        "userId": user,
        "amount": amount,
        "timestamp": time_of_day,
        "transaction_id": f"{user} {hour}",
        "merchant": f"m {user}",
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_later_rule_tells_that_its_windows_are_warming_up(
    mock_kafka: Cluster, tmp_path: Path, processes: int
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nid = "first"\nwhen = "count_1h > 0"')
    with pipeline(mock_kafka, MODEL_FILE="", RULES_FILE=str(rules), ALLOWED_LATENESS="1h") as flow:
        flow.send([at(hour, 1) for hour in range(10)])
        flow.run(recover=True, processes=processes)
        flow.send([at(10, 1)])
        publish(flow, "RULE_TOPIC", "later", {"when": "count_6h > 0 and count_2h_by_merchant > 0 and amount > 5"})
        flow.send([at(10.5, 6), at(12, 6), at(12.5, 6), at(14, 6), at(10.25, 6), at(14, 6, "u2"), at(21, 6, "u2")])
        flow.run(recover=True, processes=processes)
        told = {alert["transaction_id"]: alert for alert in flow.alerts()}
    by_merchant = ["count_2h_by_merchant"]
    found = {
        id: (alert["late"], [name for name in alert["warming_up"] if name != "count_6h"]) for id, alert in told.items()
    }
    assert {id: late_and_warming for id, late_and_warming in found.items() if late_and_warming != (False, [])} == {
        "u1 0": (False, ["count_1h"]),
        # The merchant's windows are new: the first transaction that they see is at 10 h.
        "u1 10.5": (False, by_merchant),
        "u1 10.25": (True, by_merchant),
        # In other key groups, which began with it.
        "u2 14": (False, ["count_1h", *by_merchant]),
    }
    # The user's six hours begin with what the engine still has: what is not complete is said to be warming up.
    counts = {"u1 10.5": 7, "u1 12": 6, "u1 12.5": 7, "u1 14": 6, "u2 14": 1, "u2 21": 1}
    for id, count in counts.items():
        first, later = told[id]["rules"]
        assert (first["id"], later["id"]) == ("first", "later")
        assert "count_6h" in later["warming_up"] or later["evidence"]["count_6h"] == count
        assert set(told[id]["warming_up"]) == {*first["warming_up"], *later["warming_up"]}
    assert "count_6h" in told["u2 14"]["warming_up"]
    assert "count_6h" not in {*told["u1 14"]["warming_up"], *told["u2 21"]["warming_up"]}
