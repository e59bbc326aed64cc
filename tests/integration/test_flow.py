"""The flow end to end, as users run it: processes, topics, settings from the environment."""

import math
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operators.decisions.alerts import alert_id
from operators.transactions.formats import REASONS
from tests.integration.flow import by_rules, pipeline
from tests.integration.plain import expected_rules
from tests.servers.influxdb import BUCKET, InfluxDB
from tests.servers.kafka import Cluster, Kafka

DAY = datetime(2024, 12, 4, tzinfo=UTC)


def stamp(seconds: float) -> str:
    return (DAY + timedelta(seconds=seconds)).isoformat()


def some_messages(count: int, seed: int = 1) -> list[dict]:
    """Messages of all formats with ids, of few users close in time, out of order by up to two minutes."""
    chance = random.Random(seed)
    messages = []
    for number in range(count):
        at = number * 2 + chance.uniform(-120, 0)
        amount = round(chance.lognormvariate(5, 2), 2)
        user = f"u{int(chance.triangular(0, 40, 0))}"
        shape = chance.choice(["simple", "simple", "card", "paysim"])
        if shape == "simple":
            place = chance.choice([None, "Paris", "Paris", "Paris", "Rome"])
            message = {"userId": user, "amount": amount * 20, "timestamp": stamp(at), "location": place}
        elif shape == "card":
            message = {"customer_id": f"c{user}", "amount": amount, "timestamp": stamp(at), "merchant": "m1"}
        else:
            kind = chance.choice(["TRANSFER", "CASH_OUT"])
            amount *= 500
            message = {
                "step": int(at // 3600) + 1,
                "type": kind,
                "amount": amount,
                "nameOrig": f"C{user}",
                "nameDest": "C1",
            }
        messages.append({**message, "transaction_id": f"t{seed}-{number}"})
    return messages


def some_bad_messages() -> dict[bytes, str]:
    """One of each kind of bad input."""
    return {
        b"nonsense": "not_json",
        b"[1]": "not_an_object",
        b'{"user": 1}': "unknown_format",
        b'{"userId": "1"}': "missing_field",
        b'{"userId": "1", "amount": "ten"}': "wrong_type",
        b'{"userId": "1", "amount": "NaN"}': "amount_not_finite",
        b'{"userId": "1", "amount": -1}': "amount_negative",
        b'{"userId": "1", "amount": 1e15}': "amount_absurd",
        b'{"userId": "1", "amount": 1, "timestamp": "soon"}': "time_unreadable",
        b'{"userId": "1", "amount": 1, "timestamp": "2999-01-01T00:00:00Z"}': "time_in_future",
        b'{"userId": "%s", "amount": 1}' % (b"x" * 300): "id_too_long",
        b'{"userId": "1", "amount": 1, "note": "%s"}' % (b"x" * 5000): "message_too_large",
    }


def expected(messages: list[dict]) -> dict[str, set[str]]:
    fired = expected_rules(messages)
    return {message["transaction_id"]: rules for message, rules in zip(messages, fired, strict=True) if rules}


def test_alerts_and_dead_letters_are_those_of_a_plain_script(kafka: Cluster):
    messages, bad = some_messages(600), some_bad_messages()
    assert set(bad.values()) == set(REASONS)
    mixed = [*messages[:300], *bad, *messages[300:]]
    wanted = expected(messages)
    assert {rule for rules in wanted.values() for rule in rules} >= {"velocity", "several_locations", "high_amount"}
    with pipeline(kafka, MODEL_FILE="", MAX_MESSAGE_BYTES="5000") as flow:
        flow.send(mixed)
        flow.run()
        alerts = flow.alerts()
        assert by_rules(alerts) == wanted
        assert len(alerts) == len(wanted)
        assert {alert["risk_score"] for alert in alerts} == {None}
        sent = {(m.partition(), m.offset()): (m.key(), m.value()) for m in flow.read("TRANSACTION_TOPICS")}
        letters = flow.read("DLQ_TOPIC")
        assert len(letters) == len(bad)
        for letter in letters:
            headers = dict(letter.headers() or [])
            assert bad[letter.value()] == headers["reason"].decode()
            assert headers["topic"].decode() == flow.topics["TRANSACTION_TOPICS"]
            assert sent[int(headers["partition"]), int(headers["offset"])] == (letter.key(), letter.value())
            assert headers["error"]


@pytest.mark.parametrize("options", [{"workers": 2}, {"processes": 2}, {"processes": 2, "recover": True}], ids=str)
def test_more_workers_and_processes_give_the_same_alerts(kafka: Cluster, options: dict):
    messages = some_messages(600)
    with pipeline(kafka, MODEL_FILE="") as flow:
        flow.send(messages)
        flow.run(**options)
        assert by_rules(flow.alerts()) == expected(messages)


@pytest.mark.parametrize("processes", [1, 2])
def test_kills_in_the_middle_lose_no_alert_and_repeat_none(kafka: Cluster, processes: int):
    messages = some_messages(3000)
    wanted = expected(messages)
    with pipeline(kafka, MODEL_FILE="") as flow:
        for part in range(3):
            started = flow.start(recover=True, processes=processes)
            for start in range(part * 1000, part * 1000 + 1000, 250):
                flow.send(messages[start : start + 250])
                time.sleep(0.7)
            for process in started:
                process.kill()
                process.wait()
        flow.run(recover=True, processes=processes)
        alerts = flow.alerts()
        assert by_rules(alerts) == wanted
        assert len(alerts) == len(wanted)
        assert {alert["alert_id"] for alert in alerts} == {alert_id(identity) for identity in wanted}


def test_a_second_run_on_the_same_recovery_directory_is_refused(mock_kafka: Cluster):
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        (first,) = flow.start(recover=True)
        flow.send(some_messages(50))
        flow.wait_for("ALERT_TOPIC", 1)
        (second,) = flow.start(recover=True)
        assert second.wait(30) == 2
        assert f"is in use by process {first.pid}" in flow.output()
        assert first.poll() is None
        first.terminate()
        assert first.wait(30) == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"KEY_GROUPS": "32"}, "does not fit FRAUD_KEY_GROUPS"),
        ({"KEY_GROUPS": "128"}, "does not fit FRAUD_KEY_GROUPS"),
        ({"SHARDS": "16"}, "does not fit FRAUD_SHARDS"),
        ({"TRANSACTION_TOPICS": "other"}, "does not fit FRAUD_TRANSACTION_TOPICS"),
    ],
)
def test_state_that_does_not_fit_is_refused(mock_kafka: Cluster, changed: dict, said: str):
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(some_messages(50))
        flow.run(recover=True)
        if "TRANSACTION_TOPICS" in changed:
            changed = {"TRANSACTION_TOPICS": f"other-{flow.topics['TRANSACTION_TOPICS']}"}
            mock_kafka.create_topic(changed["TRANSACTION_TOPICS"])
        flow.start(recover=True, **changed)
        assert flow.wait() == [2]
        assert said in flow.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_drains_and_a_restart_repeats_nothing(mock_kafka: Cluster, number: signal.Signals, processes: int):
    messages = some_messages(400)
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send(messages[:200])
        started = flow.start(recover=True, processes=processes)
        flow.wait_for("ALERT_TOPIC", len(expected(messages[:200])))
        for process in started:
            process.send_signal(number)
        assert flow.wait(30) == [0] * processes, flow.output()
        flow.send(messages[200:])
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == expected(messages)
        assert len(flow.alerts()) == len(expected(messages))


def test_it_learns_from_labels_publishes_and_scores_with_exact_reasons(kafka: Cluster):
    chance = random.Random(5)
    history, labels = [], []
    for number in range(3000):
        fraud = chance.random() < 0.06
        amount = chance.uniform(500, 900) if fraud else chance.uniform(1, 200)
        message = {
            "customer_id": f"c{number}",
            "amount": amount,
            "timestamp": stamp(number * 5),
            "transaction_id": f"h{number}",
        }
        history.append(message)
        label = {"transaction_id": f"h{number}", "user_id": f"c{number}", "is_fraud": fraud, "source": "analyst"}
        labels.append({**label, "labelled_at": stamp(number * 5 + 60)})
    later = [
        {**message, "transaction_id": f"l{i}", "timestamp": stamp(20_000 + i)}
        for i, message in enumerate(history[:200])
    ]
    with pipeline(kafka, LABEL_MATURITY="1d") as flow:
        flow.send(labels, "LABEL_TOPIC")
        flow.send(history)
        flow.run(recover=True)
        models = flow.models()
        assert models[-1]["trained_on"]["frauds"] > 120
        assert [model["version"] for model in models] == list(range(1, len(models) + 1))
        flow.send(later)
        flow.run(recover=True)
        alerts = {a["transaction_id"]: a for a in flow.alerts() if a["transaction_id"].startswith("l")}
        assert set(alerts) == {message["transaction_id"] for message in later if message["amount"] >= 500}
        for alert in alerts.values():
            assert alert["risk_score"] >= 0.5
            assert alert["model"]["version"] >= models[-1]["version"]
            logit = alert["model"]["bias"] + sum(reason["contribution"] for reason in alert["reasons"])
            assert math.isclose(1 / (1 + math.exp(-logit)), alert["risk_score"], rel_tol=1e-9)
        measured = {record["measurement"] for record in flow.records("STATS_TOPIC")}
        assert measured >= {"live_stats", "pipeline", "model_quality", "model_drift"}


def test_nothing_to_do_is_done_at_once(kafka: Cluster):
    with pipeline(kafka) as flow:
        flow.run()
        assert flow.alerts() == []


@pytest.mark.servers
def test_a_missing_topic_is_named_with_how_to_make_it(real_kafka: Kafka):
    with pipeline(real_kafka, ALERT_TOPIC="not-there") as flow:
        flow.start()
        assert flow.wait() == [2]
        assert "has no topic not-there" in flow.output()
        assert "python -m fraudflow topics create" in flow.output()
        assert "Traceback" not in flow.output()


def test_what_is_configured_wrong_is_told_without_a_traceback(mock_kafka: Cluster):
    with pipeline(mock_kafka, RULES_FILE="nowhere.toml") as flow:
        flow.start()
        assert flow.wait() == [2]
        assert "fraudflow cannot start: nowhere.toml: No such file or directory" in flow.output()
        assert "Traceback" not in flow.output()


def test_names_that_do_not_exist_are_told_with_their_place(mock_kafka: Cluster, tmp_path: Path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nid = "typo"\nwhen = "amount > 1 and amout > 5"\n')
    with pipeline(mock_kafka, RULES_FILE=str(rules)) as flow:
        flow.start()
        assert flow.wait() == [2]
        assert f"{rules}:3:24: rule 'typo': when: unknown name 'amout'; nearest known: amount" in flow.output()
        assert "Traceback" not in flow.output()


def test_options_that_the_kafka_client_does_not_know_are_told(mock_kafka: Cluster):
    with pipeline(mock_kafka, KAFKA_CONFIG_SECURITY_PROTOCL="x") as flow:
        flow.start()
        assert flow.wait() == [2]
        assert 'No such configuration property: "security.protocl"' in flow.output()
        assert "Traceback" not in flow.output()


@pytest.mark.servers
def test_influxdb_holds_each_alert_of_kafka_once(mock_kafka: Cluster, influxdb: InfluxDB):
    """Also after everything was judged again from the start, as a restart without its recovery directory would."""
    messages = some_messages(600)
    target = {"INFLUX_URL": influxdb.url, "INFLUX_TOKEN": "any:token", "INFLUX_BUCKET": BUCKET}
    with pipeline(mock_kafka, MODEL_FILE="", **target) as flow:
        flow.send([*messages, b"nonsense"])
        flow.run()
        flow.run()
        alerts = {alert["alert_id"]: alert for alert in flow.alerts()}
        points = influxdb.query("SELECT * FROM fraud_alert")
        assert {point["alert_id"] for point in points} == set(alerts)
        assert len(points) == len(alerts) == len(expected(messages))
        for point in points:
            alert = alerts[point["alert_id"]]
            assert point["amount"] == alert["amount"]
            assert point["user_id"] == alert["user_id"]
            assert point["rules"] == ", ".join(rule["id"] for rule in alert["rules"])
            assert (point["severity"], point["decision"]) == (alert["severity"], alert["decision"])
            assert point["rule"] in point["rules"].split(", ")
        (rejected,) = influxdb.query("SELECT sum(rejected) FROM pipeline WHERE reason = 'not_json'")
        assert rejected["sum"] == 1


def test_a_repeated_message_is_judged_once(kafka: Cluster):
    """A producer's retry: no second alert, no second count, but told in the statistics."""
    message = {"userId": "u1", "amount": 15_000, "timestamp": stamp(0), "transactionId": "t1"}
    others = [{**message, "amount": 1, "transactionId": f"t{i}", "timestamp": stamp(i)} for i in (2, 3)]
    with pipeline(kafka, MODEL_FILE="") as flow:
        flow.send([message, message, *others, message])
        flow.run(recover=True)
        flow.send([message, others[0]])
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == {"t1": {"high_amount"}}
        assert len(flow.alerts()) == 1
        last = {r["time"]: r["fields"] for r in flow.records("STATS_TOPIC") if "transactions" in r["fields"]}
        assert sum(fields["transactions"] for fields in last.values()) == 3
        assert sum(fields["repeated"] for fields in last.values()) >= 2


def test_labels_that_have_arrived_make_features(kafka: Cluster, tmp_path: Path):
    """The third payment at a merchant is stopped, since by then two others there were reported."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nid = "bad_merchant"\nwhen = "fraud_count_7d_by_merchant >= 2"\n')
    payment = {"amount": 10, "merchant": "m1"}
    messages = [
        {**payment, "customer_id": f"c{i}", "timestamp": stamp(i * 60), "transaction_id": f"t{i}"} for i in range(3)
    ]
    late = {**payment, "customer_id": "c9", "timestamp": stamp(7200), "transaction_id": "t9"}
    elsewhere = {**late, "merchant": "m2", "customer_id": "c8", "transaction_id": "t8"}
    label = {"is_fraud": True, "merchant_id": "m1"}
    with pipeline(kafka, MODEL_FILE="", RULES_FILE=str(rules)) as flow:
        flow.send(messages)
        flow.run(recover=True)
        reported = [
            {**label, "transaction_id": f"t{i}", "user_id": f"c{i}", "labelled_at": stamp(3600 + i)} for i in (0, 2)
        ]
        flow.send(reported, "LABEL_TOPIC")
        flow.run(recover=True)
        flow.send([late, elsewhere])
        flow.run(recover=True)
        assert by_rules(flow.alerts()) == {"t9": {"bad_merchant"}}


def test_hostile_messages_are_dead_letters_and_hostile_weights_are_passed_over(kafka: Cluster):
    """Nested without end wherever a value is told in an error, and records that no trainer wrote."""
    deep = b"[" * 1000 + b"]" * 1000
    fields = [b"userId", b"amount", b"timestamp", b"isFraud", b"merchant", b"latitude"]
    start = b'{"userId": "u1", "amount": 15000, '
    hostile = [b"{" + b'"amount": 1, "userId": "u", "%s": %s}' % (field, deep) for field in fields]
    hostile += [
        start + b'"amount": "1_0"}',
        start + b'"timestamp": "2024"}',
        start + b'"timestamp": 0}',
        b"[" * 100_000,
    ]
    weights = (
        b'{"name": "fraud-lr", "version": %s, "trained_on": {"examples": 1, "frauds": 1}, "bias": %s, "weights": {}, '
    )
    weights += b'"published_at": "%s"}'
    models = [b"garbage", deep, b"{}", b'{"name": 1}']
    models += [
        weights % (b"1" + b"0" * 30, b"1", b"2024-01-01T00:00:00Z"),
        weights % (b"1", b"1", b"0999-01-01T00:00:00Z"),
    ]
    good = {"userId": "u1", "amount": 15_000, "timestamp": stamp(0), "transactionId": "t1"}
    with pipeline(kafka) as flow:
        flow.send(models, "MODEL_TOPIC")
        flow.send([*hostile, good])
        label = b'{"transaction_id": %s, "user_id": "u", "is_fraud": true}' % deep
        flow.send([label, b'{"transaction_id": "x", "user_id": "u", "is_fraud": %s}' % deep], "LABEL_TOPIC")
        rules = [b'{"id": %s}' % deep, b'{"when": "amount > 1", "cooldown": "%sd"}' % (b"9" * 400)]
        rules += [b'{"when": "amount > 1", "message": "{count_%sm}"}' % (b"1" * 900), b'{"when": "amount > \\u0661"}']
        rules += [b'{"when": "%s 2 / 3 > 0"}' % (b"event_time * " * 30), b"{\"when\": \"user_id in ('{}', '{0}')\"}"]
        flow.send(rules, "RULE_TOPIC")
        for _ in range(2):
            flow.run(recover=True)
        assert by_rules(flow.alerts()) == {"t1": {"high_amount"}}
        assert len(flow.read("DLQ_TOPIC")) == len(hostile) + 2
        events = [event["event"] for event in flow.records("MODEL_EVENT_TOPIC")]
        assert [events.count(kind) for kind in ("refused", "rule_refused", "rule_changed")] == [len(models), 4, 2]


def test_a_dead_letter_that_no_topic_would_take_is_cut(mock_kafka: Cluster):
    large = b'{"userId": "u1", "amount": 1, "note": "%s"}' % (b"x" * 1_020_000)
    with pipeline(mock_kafka, MODEL_FILE="") as flow:
        flow.send([large])
        flow.run()
        (letter,) = flow.read("DLQ_TOPIC")
        assert letter.value() == large[:1_000_000]
        headers = dict(letter.headers() or [])
        assert (headers["reason"], headers["cut_from_bytes"]) == (b"message_too_large", b"%d" % len(large))
