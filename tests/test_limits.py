"""Whatever is too large is refused or cut: what the flow writes of it fits into a record, and the flow goes on."""

from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from flows.encoding import LARGEST, LONGEST_KEY, dead_letter_records
from flows.settings import Settings, SettingsError
from operators.files import LARGEST as LARGEST_FILE
from operators.model.control import Control, Refused, read_models
from operators.model.files import load_model
from operators.model.scoring import TrainedOn, Weights
from operators.model.specification import ModelError
from operators.rules import ChangeReader, RuleError, known_name, load_rules, parse_rules
from operators.rules.changes import LARGEST_MESSAGE, LONGEST_TOLD
from operators.rules.rule_set import LONGEST_MESSAGE
from operators.transactions.records import DeadLetter
from tests.integration.flow import pipeline
from tests.records import NOON, Batch
from tests.servers.kafka import MockKafka

LONG = "x" * 600_000
MOMENT = "2024-12-04T11:00:00Z"


def one(key: str, value: bytes, topic: str = "rules") -> Batch:
    return Batch(topic, 0, [0], [NOON], [key.encode()], [value])


RULES = {
    "a condition": {"when": f"amount > 1 and country == '{LONG}'"},
    "a condition within the record's limit": {"when": f"country == '{'é' * 40_000}'"},
    "a message": {"when": "amount > 1", "message": LONG},
    "a field": {"when": "amount > 1", LONG: 1},
    "a version": {"when": "amount > 1", "version": LONG},
    "an example": {"when": "amount > 1", "examples": [{"fires": True, "transaction": {"note": LONG}}]},
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_is_too_large_is_refused_in_few_words(name: str) -> None:
    changes = ChangeReader(known_name, known_name, "lists").read(one("r", orjson.dumps(RULES[name])))
    (event,) = changes.events
    assert event.event == "rule_refused"
    assert len(event.message) <= LONGEST_TOLD + 1
    assert len(event.to_json()) < 20_000


def test_an_entry_of_a_list_that_is_too_large_is_refused_in_few_words() -> None:
    value = orjson.dumps({"list": "trusted", "value": "u", "note": "x" * LARGEST_MESSAGE})
    reader = ChangeReader(known_name, known_name, "lists")
    for batch in (one("trusted/u", value, "lists"), one(LONG, b"", "lists"), one(f"trusted/{LONG}", b"", "lists")):
        (event,) = reader.read(batch).events
        assert event.event == "list_refused"
        assert len(event.to_json()) < 1_000


def test_the_message_of_a_rule_has_a_longest() -> None:
    rule = '[[rule]]\nid = "a"\nwhen = "amount > 1"\nmessage = "%s"\n'
    parse_rules(rule % ("x" * LONGEST_MESSAGE))
    with pytest.raises(RuleError, match="message: longer than 1,000 characters"):
        parse_rules(rule % ("x" * (LONGEST_MESSAGE + 1)))


def test_names_of_models_have_a_longest() -> None:
    weights = Weights(LONG, 1, TrainedOn(1, 1), 0.0, {}, NOON)
    command = Control("promote", LONG, "someone", "a test", NOON)
    for key, record in (("m", weights.to_json()), ("control/champion", command.to_json())):
        (found,) = read_models(one(key, record))
        assert isinstance(found, Refused)
        assert len(str(found)) < 500


def test_files_have_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(RuleError, match=r"table\.csv: more than 1,000,000 bytes"):
        load_rules(path)
    with pytest.raises(ModelError, match=r"table\.csv: more than 1,000,000 bytes"):
        load_model(path)


def test_a_dead_letter_is_cut_where_it_would_not_fit() -> None:
    letter = DeadLetter("not_json", "error", "t", 0, 5, b"k" * (LONGEST_KEY + 1), b"v" * (LARGEST + 1), NOON)
    (record,) = dead_letter_records([letter])
    assert (record.key, record.value) == (b"k" * LONGEST_KEY, b"v" * LARGEST)
    headers = dict(record.headers or [])
    assert headers["key_cut_from_bytes"] == b"%d" % (LONGEST_KEY + 1)
    assert headers["cut_from_bytes"] == b"%d" % (LARGEST + 1)
    (small,) = dead_letter_records([DeadLetter("not_json", "error", "t", 0, 5, None, None, NOON)])
    assert (small.key, small.value) == (None, None)
    assert not {"cut_from_bytes", "key_cut_from_bytes"} & set(dict(small.headers or []))


@pytest.mark.parametrize("setting", ["FRAUD_MAX_ID_LENGTH=100000", "FRAUD_MAX_MESSAGE_BYTES=1000000000"])
def test_limits_have_limits(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(SettingsError, match=name):
        Settings.load({name: value}, env_file=None)


def test_what_is_too_large_on_every_topic_stops_nothing(mock_kafka: MockKafka) -> None:
    with pipeline(mock_kafka, LABEL_DELAY="1s") as flow:
        producer = Producer({"bootstrap.servers": mock_kafka.bootstrap, "message.max.bytes": 2_000_000})
        huge = "x" * 990_000
        sent = {
            "RULE_TOPIC": [("r", {"when": f"amount > 1 and country == '{huge}'"}), (huge, {"when": "amount > 1"})],
            "LIST_TOPIC": [(f"trusted/{huge}", {}), ("trusted/u", {"list": "trusted", "value": "u", "note": huge})],
            "MODEL_TOPIC": [
                ("control/champion", {"action": "promote", "model": huge, "by": "b", "reason": "r", "at": MOMENT}),
                (huge, {"name": huge}),
            ],
            "LABEL_TOPIC": [("u", {"transaction_id": huge, "user_id": "u", "is_fraud": True}), (huge, {"user_id": 1})],
            "TRANSACTION_TOPICS": [
                ("u", {"userId": "u", "amount": 1, "location": huge}),
                (huge, {"userId": "u"}),
                ("u", {"userId": "u", "amount": 20_000, "transaction_id": "fine"}),
            ],
        }  # fmt: skip
        for setting, messages in sent.items():
            for key, message in messages:
                producer.produce(flow.topics[setting], orjson.dumps(message), key.encode())
        assert producer.flush(30) == 0
        flow.run(recover=True)
        assert [alert["transaction_id"] for alert in flow.alerts()] == ["fine"]
        assert len(flow.read("DLQ_TOPIC")) == 4
        told = [event["event"] for event in flow.records("MODEL_EVENT_TOPIC")]
        assert sorted(told) == ["list_refused"] * 2 + ["refused"] * 2 + ["rule_refused"] * 2
