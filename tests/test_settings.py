"""Settings: read, checked, explained, masked; and `.env.example` is complete."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.settings import Settings, SettingsError, known_names

ROOT = Path(__file__).parent.parent


def load(**environment):
    return Settings.load(environment, env_file=None)


def test_the_defaults():
    settings = load()
    assert settings.kafka_bootstrap_servers == "localhost:9092"
    assert settings.transaction_topics == ("transactions",)
    assert settings.influx_url == ""


def test_values_are_read_in_their_own_notation():
    settings = load(
        FRAUD_TRANSACTION_TOPICS="transactions, transactions-input",
        FRAUD_LABEL_DELAY="24h",
        FRAUD_STOP_AT_END="true",
        FRAUD_MODEL_FILE="",
        FRAUD_PAYSIM_START="1970-01-02",
    )
    assert settings.transaction_topics == ("transactions", "transactions-input")
    assert settings.label_delay == 86_400_000
    assert settings.stop_at_end is True
    assert settings.model_file is None
    assert settings.paysim_start == 86_400_000


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"FRAUD_LABEL_DELY": "1h"}, "FRAUD_LABEL_DELY is not a setting: did you mean FRAUD_LABEL_DELAY"),
        ({"FRAUD_LABEL_DELAY": "soon"}, "FRAUD_LABEL_DELAY: 'soon' is not a duration"),
        ({"FRAUD_LABEL_DELAY": "60d"}, "FRAUD_LABEL_DELAY is longer than FRAUD_LABEL_MATURITY"),
        ({"FRAUD_REVIEW_THRESHOLD": "0.95"}, "FRAUD_REVIEW_THRESHOLD is above FRAUD_BLOCK_THRESHOLD"),
        ({"FRAUD_BLOCK_THRESHOLD": "2"}, "FRAUD_BLOCK_THRESHOLD: Input should be less than or equal to 1"),
        ({"FRAUD_START_FROM": "middle"}, "FRAUD_START_FROM: Input should be 'earliest' or 'latest'"),
        ({"FRAUD_KEY_GROUPS": "0"}, "FRAUD_KEY_GROUPS"),
        ({"FRAUD_TRANSACTION_TOPICS": " , "}, "at least one topic is wanted"),
        ({"FRAUD_TRANSACTION_TOPICS": "a,a"}, "a topic is named twice"),
        ({"FRAUD_INFLUX_TOKEN_FILE": "/nonexistent/token"}, "FRAUD_INFLUX_TOKEN_FILE: /nonexistent/token"),
    ],
)
def test_what_is_wrong_is_named(environment, said):
    with pytest.raises(SettingsError) as refused:
        load(**environment)
    assert said in str(refused.value)


def test_every_wrong_setting_is_told_at_once():
    with pytest.raises(SettingsError) as refused:
        load(FRAUD_SHARDS="none", FRAUD_MAX_AMOUNT="-1")
    assert "FRAUD_SHARDS" in str(refused.value)
    assert "FRAUD_MAX_AMOUNT" in str(refused.value)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load().shards = 3  # type: ignore[misc]


def test_any_option_of_the_kafka_client(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hush-hush\n")
    settings = load(
        FRAUD_KAFKA_BOOTSTRAP_SERVERS="k1:9093",
        FRAUD_KAFKA_CONFIG_SECURITY_PROTOCOL="SASL_SSL",
        FRAUD_KAFKA_CONFIG_SASL_PASSWORD_FILE=str(secret),
    )
    assert settings.kafka_config() == {
        "bootstrap.servers": "k1:9093",
        "security.protocol": "SASL_SSL",
        "sasl.password": "hush-hush",
    }


def test_no_secret_is_printed():
    settings = load(FRAUD_INFLUX_TOKEN="hush-hush", FRAUD_KAFKA_CONFIG_SASL_PASSWORD="hush-hush")
    assert "hush" not in settings.describe() + repr(settings) + str(settings)
    assert "FRAUD_INFLUX_TOKEN=****" in settings.describe()
    assert "FRAUD_KAFKA_CONFIG_SASL_PASSWORD=****" in settings.describe()


def test_what_is_described_can_be_read_again():
    settings = load(FRAUD_TRANSACTION_TOPICS="a,b", FRAUD_ALLOWED_LATENESS="90s", FRAUD_MODEL_FILE="")
    described = dict(line.split("=", 1) for line in settings.describe().splitlines())
    assert load(**described) == settings


def test_the_file_yields_to_the_environment(tmp_path):
    file = tmp_path / ".env"
    file.write_text("FRAUD_SHARDS=3\nFRAUD_KEY_GROUPS=16\n")
    settings = Settings.load({"FRAUD_SHARDS": "5"}, env_file=file)
    assert (settings.shards, settings.key_groups) == (5, 16)


def test_the_example_names_every_setting_with_its_default():
    named = {}
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line.startswith("#FRAUD_") and not line.startswith("#FRAUD_KAFKA_CONFIG_"):
            name, _, value = line.removeprefix("#").partition("=")
            named[name] = value
    assert set(named) == set(known_names()) - {"FRAUD_INFLUX_TOKEN_FILE"}
    assert load(**named) == load()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"FRAUD_TRANSACTION_TOPICS": "transactions-dlq"}, "topic 'transactions-dlq' is named by two settings"),
        ({"FRAUD_ALERT_TOPIC": "fraud-models"}, "topic 'fraud-models' is named by two settings"),
        ({"FRAUD_INFLUX_URL": "localhost:8086"}, "FRAUD_INFLUX_URL is 'localhost:8086': wanted http://"),
        ({"FRAUD_LABEL_DELAY": "9" * 400 + "d"}, "longer than a century"),
    ],
)
def test_what_would_do_harm_is_refused(environment, said):
    with pytest.raises(SettingsError) as refused:
        load(**environment)
    assert said in str(refused.value)
