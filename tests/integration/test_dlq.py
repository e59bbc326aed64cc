"""`fraudflow dlq`: dead letters that the flow itself has written are listed, shown, and put back."""

import os
import re
import subprocess
import sys

import pytest

from fraudflow.dlq.letters import Letter, LetterId, Read
from fraudflow.dlq.replay import plan
from fraudflow.dlq.showing import decoded, plain
from tests.integration.flow import ROOT, Pipeline, by_rules, pipeline
from tests.integration.test_flow import some_bad_messages
from tests.servers.kafka import Kafka

pytestmark = pytest.mark.timeout(300)

LARGE = b'{"userId": "u1", "amount": 20000, "transactionId": "t1", "note": "%s"}' % (b"x" * 5000)
ABSURD = b'{"userId": "u2", "amount": 2000000, "transactionId": "t2"}'


def dlq(flow: Pipeline, *words: str, code: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    environment |= {f"FRAUD_{name}": value for name, value in flow.settings.items()} | {"COLUMNS": "400"}
    command = [sys.executable, "-m", "fraudflow", "dlq", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.servers
def test_letters_are_listed_shown_and_put_back_once(real_kafka: Kafka):
    limits = {"MAX_MESSAGE_BYTES": "5000", "MAX_AMOUNT": "1000000"}
    with pipeline(real_kafka, MODEL_FILE="") as flow:
        bad = {**some_bad_messages(), LARGE: "message_too_large", ABSURD: "amount_absurd"}
        topic = flow.topics["TRANSACTION_TOPICS"]
        flow.send(bad)
        flow.run(**limits)

        listed = dlq(flow, "list")
        assert f"{len(bad)} dead letters: " in listed
        assert "2 message_too_large" in listed
        assert "0 dead letters" in dlq(flow, "list", "--reason", "no_such")
        assert "0 dead letters" in dlq(flow, "list", "--until", "1h")
        assert f"{len(bad)} dead letters" in dlq(flow, "list", "--since", "1h", "--topic", topic, "--limit", "3")
        found, *_ = re.findall(r"^(\d/\d+) .* amount_absurd ", listed, re.M)
        shown = dlq(flow, "show", found)
        assert "reason: amount_absurd" in shown
        assert f"topic: {topic}" in shown
        assert '  "amount": ' in shown
        assert "holds no letter 0/999999" in dlq(flow, "show", "0/999999", code=1)

        before = len(flow.read("TRANSACTION_TOPICS"))
        assert "2 letters would be put back" in dlq(flow, "replay", "--reason", "message_too_large", "--dry-run")
        assert len(flow.read("TRANSACTION_TOPICS")) == before

        assert "2 letters were put back, 0 not" in dlq(flow, "replay", "--reason", "message_too_large")
        again = dlq(flow, "replay", "--reason", "message_too_large", code=1)
        assert "it was put back before" in again
        assert "0 letters were put back, 2 not" in again
        assert "message_too_large (put back)" in dlq(flow, "list")

        back = [m for m in flow.read("TRANSACTION_TOPICS") if m.headers()]
        originals = {m.value(): m for m in flow.read("TRANSACTION_TOPICS") if not m.headers()}
        assert len(back) == 2
        for message in back:
            original = originals[message.value()]
            assert (message.key(), message.partition()) == (original.key(), original.partition())
            ((name, value),) = message.headers()
            assert (name, value.decode().split("/")[0]) == ("replayed_from", flow.topics["DLQ_TOPIC"])
        flow.run(MAX_AMOUNT="1000000")
        assert by_rules(flow.alerts()) == {"t1": {"high_amount"}}


@pytest.mark.servers
def test_what_is_wrong_is_told(real_kafka: Kafka):
    with pipeline(real_kafka) as flow:
        assert "0 dead letters" in dlq(flow, "list")
        assert "not a letter's id" in dlq(flow, "show", "x7", code=2)
        assert "say which" in dlq(flow, "replay", code=2)
        assert "is not a time" in dlq(flow, "list", "--since", "soon", code=2)
        flow.settings["DLQ_TOPIC"] = "nowhere"
        assert "has no topic nowhere" in dlq(flow, "list", code=1)
        flow.settings["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
        assert "no answer from Kafka at 127.0.0.1:1" in dlq(flow, "list", code=1)


def letter(number: int = 1, **fields) -> Letter:
    usual = Letter(LetterId(0, number), 0, "not_json", "x", "tx", 2, 7, b"k", b"v", None, ())
    return usual._replace(**fields)


def test_only_what_can_be_put_back_is():
    letters = [letter(1), letter(2, cut_from=2_000_000), letter(3, topic="other"), letter(4, topic=""), letter(5)]
    found = plan(Read(letters, frozenset({LetterId(0, 5)})), sources={"tx": 4}, again=False)
    assert [one.id.offset for one in found.chosen] == [1]
    assert {one.id.offset: why.split(" which")[0] for one, why in found.refused} == {
        2: "it was cut from 2000000 bytes; the original is at tx[2] offset 7",
        3: "it came from other,",
        4: "it came from no topic that its headers tell,",
        5: "it was put back before (--again does it once more)",
    }
    assert len(plan(Read(letters, frozenset({LetterId(0, 5)})), sources={"tx": 4}, again=True).chosen) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(no value)"),
        (b'{"a":[1,"\xc3\xa9"]}', '{\n  "a": [\n    1,\n    "é"\n  ]\n}'),
        (b"not \xff json", "not \\xff json"),
        (b"", ""),
    ],
)
def test_bytes_are_shown_readably(value, text):
    assert decoded(value) == text


def test_bytes_do_not_control_the_terminal():
    assert plain("a\x1b[31m\x07\r[bold]\nb").plain == "a\\x1b[31m\\x07\\r[bold]\nb"
