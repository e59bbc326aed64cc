"""docs/schemas says what is on the topics: what fits is taken, and what the flow writes is described, all of it."""

import json
import time
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flows.skipping import REASON as SKIPPED
from operators.measurements import MEASUREMENTS
from operators.model.control import Action, Control
from operators.model.control import read_models as read
from operators.model.events import ModelEvent
from operators.model.scoring import Weights
from operators.rules import ChangeReader, Rule, known_name
from operators.rules.changes import ENTRY_FIELDS
from operators.transactions.decoding import Decoder
from operators.transactions.formats import FRAME_REASONS, REASONS, Limits
from operators.transactions.records import Transaction
from tests.integration.flow import pipeline
from tests.integration.test_readme import messages as readme_messages
from tests.records import NOON, Batch
from tests.schemas import FOLDER, NAMES, complete, problems, published, schema
from tests.servers.kafka import MockKafka

DECODER = Decoder(Limits(paysim_start=NOON - 3_600_000))
READER = ChangeReader(known_name, known_name, "lists")
MOMENTS = [
    "2024-12-04T11:00:00Z",
    "2024-12-04T11:00:00.123+01:00",
    "2024-12-04 11:00",
    1733310000,
    1733310000123,
    "1733310000",
]
ODD = [
    None,
    "",
    "x",
    "M7",
    "é",
    "x" * 256,
    "x" * 257,
    0,
    1,
    -1,
    1.5,
    -0.0,
    89.9,
    181,
    2**70,
    1e9,
    1e300,
    True,
    False,
    [],
    {},
]
SEEDS: dict[str, dict[str, Any]] = {
    "transaction-simple": {"userId": "u", "amount": 1.5},
    "transaction-card": {"customer_id": "u", "amount": 1.5},
    "transaction-paysim": {"nameOrig": "u", "amount": 1.5, "step": 1},
    "label": {"transaction_id": "t", "user_id": "u", "is_fraud": True},
    "rule": {"when": "amount > 1"},
    "list-entry": {"list": "trusted", "value": "u"},
    "model": {"name": "m", "version": 1, "trained_on": {"examples": 9, "frauds": 1}, "bias": -1.5, "weights": {"a": 1}},
    "model-command": {"action": "promote", "model": "m", "by": "someone", "reason": "a test"},
}
VALUES: dict[str, list[Any]] = {
    "timestamp": MOMENTS,
    "step": [0, 0.5, 1, None, -1, 2**70, "1"],
    "labelled_at": MOMENTS,
    "expires_at": MOMENTS,
    "published_at": MOMENTS[:2],
    "at": MOMENTS[:2],
    "when": ["amount > 1", "count_1m > 3 or missing(country)"],
    "cooldown": ["5m", "0s", "1.5h", "500ms"],
    "message": ["", "{amount} in {country}"],
    "severity": ["low", "high", "huge"],
    "mode": ["shadow", "active"],
    "examples": [[], [{"fires": True, "transaction": {"userId": "1"}}]],
    "metrics": [{}, {"roc_auc": 0.5}],
    "action": ["freeze", "unfreeze", "rollback", "promote", "rules_only", "resume", "stop"],
    "id": ["k"],
}  # what a text means is beyond a schema: only texts that mean something are tried


def taken(name: str, message: dict[str, Any]) -> bool:
    """Whether the flow can use it."""
    value = json.dumps(message).encode()
    key = {"rule": "k", "list-entry": f"{message.get('list')}/{message.get('value')}"}.get(name, "m")
    if name == "model-command":
        key = "control/m"
    batch = Batch("lists" if name == "list-entry" else "topic", 0, [0], [NOON], [key.encode()], [value])
    if name.startswith("transaction"):
        return bool(DECODER.transactions(batch).transactions)
    if name == "label":
        return bool(DECODER.labels(batch).labels)
    if name.startswith("model"):
        return isinstance(next(read(batch)), Weights | Control)
    changes = READER.read(batch)
    return bool(changes.rules or changes.lists)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema_of_the_latest_draft(name: str) -> None:
    found = schema(name)
    assert found["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(found)
    assert found["$id"] == f"urn:fraudflow:schema:{name}"
    assert name in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_fits_the_schema_is_taken(name: str, data: st.DataObject) -> None:
    fields = sorted(schema(name)["properties"])
    message = dict(SEEDS[name])
    for field in ("published_at",) if name == "model" else ("at",) if name == "model-command" else ():
        message[field] = MOMENTS[0]
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=3)):
        values = VALUES.get(field, ODD)
        if name == "model-command" and field == "weights":
            values = [None, {**SEEDS["model"], "published_at": MOMENTS[0]}, {"name": "m"}]
        message[field] = data.draw(st.sampled_from(values))
    for field in data.draw(st.sets(st.sampled_from(fields), max_size=1)):
        message.pop(field, None)
    assume(not problems(published(name), message))
    if name == "model-command" and message.get("weights"):
        assume(message["model"] == message["weights"]["name"])  # a schema can't compare
    assert taken(name, message), message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transaction-simple", {"userId": "", "amount": 1}),
        ("transaction-simple", {"userId": "u", "amount": -1}),
        ("transaction-card", {"amount": 1}),
        ("transaction-paysim", {"nameOrig": "u", "amount": 1}),
        ("label", {"transaction_id": "t", "user_id": "u", "is_fraud": "maybe"}),
        ("label", {"transaction_id": "t", "is_fraud": True}),
        ("rule", {"when": "amount > 1", "severty": "high"}),
        ("rule", {"severity": "high"}),
        ("list-entry", {"list": "trusted", "value": "u", "until": 1}),
        ("model", {**SEEDS["model"]}),
        ("model-command", {**SEEDS["model-command"], "action": "freeze", "at": MOMENTS[0]}),
    ],
)
def test_what_does_not_fit_is_not_taken(name: str, message: dict[str, Any]) -> None:
    assert problems(published(name), message)
    assert not taken(name, message)


def test_the_messages_of_the_readme_fit() -> None:
    for name, message in zip(("simple", "card", "paysim"), readme_messages(), strict=True):
        assert problems(complete(f"transaction-{name}"), message) == []


def test_the_formats_exclude_each_other() -> None:
    names = [name for name in SEEDS if name.startswith("transaction")]
    for name in names:
        assert [other for other in names if not problems(published(other), SEEDS[name])] == [name]


def test_the_schemas_name_what_the_code_has() -> None:
    def named(name: str) -> set[str]:
        return set(schema(name)["properties"])

    assert named("rule") == set(Rule.__struct_fields__)
    assert named("list-entry") == set(ENTRY_FIELDS)
    assert named("model") == set(Weights.__struct_fields__)
    assert named("model-command") == set(Control.__struct_fields__)
    assert set(schema("model-command")["properties"]["action"]["enum"]) == set(Action.__args__)  # type: ignore[attr-defined]
    assert set(schema("alert")["properties"]["transaction"]["properties"]) == set(Transaction.__struct_fields__)
    assert set(schema("model-event")["oneOf"][1]["properties"]) == set(ModelEvent.__struct_fields__)
    assert schema("dead-letter")["properties"]["reason"]["enum"] == [*REASONS, *FRAME_REASONS, SKIPPED]
    kinds = {int: "integer", float: "number", str: "string", bool: "boolean"}
    described = {
        variant["properties"]["measurement"]["const"]: variant["properties"]
        for variant in schema("statistics")["oneOf"]
    }
    assert set(described) == set(MEASUREMENTS) - {"fraud_alert"}
    for name, variant in described.items():
        measurement = MEASUREMENTS[name]
        assert set(variant["tags"]["properties"]) == set(measurement.tags), name
        types = {field: found["type"] for field, found in variant["fields"]["properties"].items()}
        assert types == {field: kinds[kind] for field, kind in measurement.fields.items()}, name


WRITTEN = {"ALERT_TOPIC": "alert", "MODEL_EVENT_TOPIC": "model-event", "STATS_TOPIC": "statistics"}


def test_what_a_flow_writes_is_described_whole(mock_kafka: MockKafka) -> None:
    """With a model that has learned and decides, commands, changed and refused rules and lists, and bad messages."""
    with pipeline(mock_kafka, LABEL_DELAY="1s", LABEL_MATURITY="2s", REVIEW_THRESHOLD="0.01") as flow:

        def cards(number: int, count: int) -> list[dict[str, Any]]:
            stamps = [
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600 + number + n)) for n in range(count)
            ]
            return [
                {"customer_id": f"c{n % 7}", "amount": 5.0 + 300 * (n % 10), "country": "FR", "category": "grocery",
                 "merchant": "m1", "timestamp": stamps[n], "is_fraud": n % 10 == 9, "latitude": 1, "longitude": 2,
                 "transaction_id": f"x{number}-{n}"}
                for n in range(count)
            ]  # fmt: skip

        rules = Producer({"bootstrap.servers": mock_kafka.bootstrap})
        rules.produce(flow.topics["RULE_TOPIC"], b'{"when":"amount > 1000","message":"{amount}"}', b"big")
        rules.produce(flow.topics["RULE_TOPIC"], b'{"when":"amont > 1000"}', b"bad")
        rules.produce(flow.topics["LIST_TOPIC"], b'{"list":"trusted","value":"c1"}', b"trusted/c1")
        rules.produce(flow.topics["LIST_TOPIC"], b"nonsense", b"trusted")
        for command in (
            Control("rules_only", "", "someone", "a test", NOON),
            Control("resume", "", "someone", "a test", NOON),
        ):
            rules.produce(flow.topics["MODEL_TOPIC"], command.to_json(), command.key.encode())
        assert rules.flush(20) == 0
        paysim = {
            "step": 1,
            "type": "TRANSFER",
            "amount": 5e5,
            "nameOrig": "C1",
            "nameDest": "M2",
            "oldbalanceOrg": 1.0,
        }
        flow.send([*cards(0, 300), {**paysim}, {"userId": "u", "amount": 20_000}, b"nonsense", {"userId": "u"}])
        flow.run(recover=True)
        flow.send(cards(300, 20))
        flow.run(recover=True)
        found = {name: flow.records(setting) for setting, name in WRITTEN.items()}
        found["dead-letter"] = [
            {name: (value or b"").decode() for name, value in letter.headers() or []}
            for letter in flow.read("DLQ_TOPIC")
        ]
        models = [message for message in flow.read("MODEL_TOPIC") if message.value()]
        for name, start in (("model", ()), ("model-command", (b"control/",))):
            found[name] = [
                orjson.loads(message.value() or b"") for message in models
                if (message.key() or b"").startswith(b"control/") == bool(start)
            ]  # fmt: skip
    for name, records in found.items():
        assert records, name
        for record in records:
            assert problems(complete(name), record) == [], (name, record)
    assert {alert["model"] is None for alert in found["alert"]} == {True, False}
    assert {record["measurement"] for record in found["statistics"]} >= {
        "live_stats",
        "pipeline",
        "rule_hits",
        "model_quality",
    }
    assert {event["event"] for event in found["model-event"]} >= {
        "published", "rule_changed", "rule_refused", "list_changed", "list_refused", "rules_only",
    }  # fmt: skip
