"""The flow and the commands over TLS, as a user with a password or with a token who may do only what they need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.kafka import KafkaUnavailable, TopicProblem, TopicSpec, create_topics, missing_topics
from flows.settings import Settings
from tests.conftest import running
from tests.integration.flow import ROOT, Pipeline, pipeline
from tests.integration.plain import expected_rules
from tests.integration.test_flow import some_messages
from tests.servers.secure_kafka import PASSWORD, SecureKafka
from tests.servers.tokens import SECRET

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

READ_ONLY = ("TRANSACTION_TOPICS", "LABEL_TOPIC", "RULE_TOPIC", "LIST_TOPIC")
WRITTEN = ("DLQ_TOPIC", "MODEL_EVENT_TOPIC", "STATS_TOPIC")
BOTH = ("ALERT_TOPIC", "MODEL_TOPIC")


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureKafka]:
    """One broker for this module."""
    with running(SecureKafka()) as broker:
        yield broker


def allow_flow(secure: SecureKafka, flow: Pipeline) -> None:
    """What docs/security.md says that the flow's user needs, and no more."""
    for setting in (*READ_ONLY, *BOTH):
        secure.allow("READ", "TOPIC", flow.topics[setting])
    for setting in (*WRITTEN, *BOTH):
        secure.allow("WRITE", "TOPIC", flow.topics[setting])
    secure.allow("READ", "GROUP", flow.settings["KAFKA_GROUP"])


def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    """A command of ours, its settings without their prefix."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    named = {f"FRAUD_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**inherited, **named},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("way", ["scram", "oauth"])
def test_the_whole_flow_runs_as_a_user_who_may_do_only_what_it_needs(
    secure: SecureKafka, tmp_path: Path, way: str
) -> None:
    messages = some_messages(300)
    fired = expected_rules(messages)
    wanted = {message["transaction_id"]: rules for message, rules in zip(messages, fired, strict=True) if rules}
    tokens_before = secure.tokens.given
    settings = secure.scram(tmp_path) if way == "scram" else secure.oauth(tmp_path)
    with pipeline(secure, **settings) as flow:
        allow_flow(secure, flow)
        flow.send([*messages, b"nonsense"])
        flow.run(recover=True)
        if way == "scram":
            flow.send(some_messages(1, seed=2))
            flow.run(recover=True)  # reads back what it wrote
        alerts = {alert["transaction_id"]: {rule["id"] for rule in alert["rules"]} for alert in flow.alerts()}
        assert {key: rules for key, rules in alerts.items() if key.startswith("t1-") and rules} == wanted
        assert len(flow.read("DLQ_TOPIC")) == 1
        assert flow.read("STATS_TOPIC")
        said = flow.log.read_text()
    assert "alerts to" in said
    for secret in (PASSWORD, SECRET):
        assert secret not in said
    if way == "oauth":
        assert secure.tokens.given > tokens_before


def test_every_command_says_why_it_is_not_let_in(secure: SecureKafka, tmp_path: Path) -> None:
    settings = secure.scram(tmp_path, "not-my-password")
    commands = {
        2: ("bytewax.run", "flows.fraud:get_flow"),
        1: ("fraudflow", "topics", "list"),
        -1: ("fraudflow", "simulate", "--rate=10", "--seconds=1"),
    }
    started = [(abs(code), start(*command, **settings)) for code, command in commands.items()]
    for code, process in started:
        output, errors = process.communicate(timeout=200)
        assert process.returncode == code
        assert "invalid credentials with SASL mechanism SCRAM" in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert "not-my" not in output + errors


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("another authority", "certificate could not be verified"),
        ("a wrong client secret", "invalid_client"),
        ("another mechanism", "Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-256,OAUTHBEARER"),
        ("nothing", "FRAUD_KAFKA_CONFIG_SECURITY_PROTOCOL is not set"),
        ("TLS where there is none", "SSL connection closed by peer"),
    ],
)
def test_the_reason_is_in_the_message(secure: SecureKafka, tmp_path: Path, given: str, said: str) -> None:
    scram = secure.scram(tmp_path)
    settings = {
        "another authority": lambda: scram | {"KAFKA_CONFIG_SSL_CA_LOCATION": str(secure.stranger.certificate)},
        "a wrong client secret": lambda: secure.oauth(tmp_path, "not-my-secret"),
        "another mechanism": lambda: scram | {"KAFKA_CONFIG_SASL_MECHANISM": "PLAIN"},
        "nothing": lambda: {"KAFKA_BOOTSTRAP_SERVERS": secure.secure},
        "TLS where there is none": lambda: scram | {"KAFKA_BOOTSTRAP_SERVERS": secure.bootstrap},
    }[given]()
    config = Settings.load({f"FRAUD_{name}": value for name, value in settings.items()}, env_file=None).kafka_config()
    with pytest.raises(KafkaUnavailable) as refused:
        missing_topics(config, ["any"], timeout=4)
    assert said in str(refused.value)


def test_a_topic_that_one_may_not_make_is_named(secure: SecureKafka, tmp_path: Path) -> None:
    secure.allow("CREATE", "TOPIC", "mine-", prefixed=True)
    settings = Settings.load({f"FRAUD_{k}": v for k, v in secure.scram(tmp_path).items()}, env_file=None)
    name = f"mine-{uuid4().hex[:8]}"
    with pytest.raises(TopicProblem, match="did not make not-mine: Authorization failed"):
        create_topics(settings.kafka_config(), [TopicSpec(name), TopicSpec("not-mine")])
    assert missing_topics({"bootstrap.servers": secure.bootstrap}, [name, "not-mine"]) == ["not-mine"]


def test_options_that_the_client_does_not_know_are_named(secure: SecureKafka, tmp_path: Path) -> None:
    wrong = {
        "KAFKA_CONFIG_SASL_USRNAME": "sasl.usrname",
        "KAFKA_CONFIG_FETCH_MAXIMUM": "fetch.maximum",
        "KAFKA_CONFIG_SSL_CA_LOCATION": "ssl.ca.location failed",
    }
    with pipeline(secure) as flow:
        allow_flow(secure, flow)
        settings = {**flow.settings, **secure.scram(tmp_path)}
        for name, process in [
            (name, start("bytewax.run", "flows.fraud:get_flow", **settings | {name: "/nonexistent"})) for name in wrong
        ]:
            _, errors = process.communicate(timeout=200)
            assert process.returncode == 2
            assert wrong[name] in errors.splitlines()[-1]
            assert "Traceback" not in errors
