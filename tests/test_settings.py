"""Settings: read, checked, explained, masked; and `.env.example` is complete."""

import re
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from flows.settings import LARGEST_SECRET, Settings, SettingsError, known_names, secret_files

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


SECRET_KAFKA_OPTIONS = [
    "SASL_PASSWORD",
    "SASL_OAUTHBEARER_CLIENT_SECRET",
    "SASL_OAUTHBEARER_CLIENT_CREDENTIALS_CLIENT_SECRET",
    "SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PEM",
    "SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PASSPHRASE",
    "SSL_KEY_PEM",
    "SSL_KEY_PASSWORD",
    "SSL_KEYSTORE_PASSWORD",
]


def test_no_secret_is_printed():
    options = {f"FRAUD_KAFKA_CONFIG_{option}": "hush-hush" for option in SECRET_KAFKA_OPTIONS}
    settings = load(FRAUD_INFLUX_TOKEN="hush-hush", **options)
    assert "hush" not in settings.describe() + repr(settings) + str(settings)
    for name in ("FRAUD_INFLUX_TOKEN", *options):
        assert f"{name}=****" in settings.describe()


def test_what_is_no_secret_is_printed():
    shown = {
        "FRAUD_KAFKA_CONFIG_SSL_KEY_LOCATION": "/etc/key.pem",
        "FRAUD_KAFKA_CONFIG_SASL_USERNAME": "fraudflow",
        "FRAUD_KAFKA_CONFIG_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://id.example.com/token",
    }
    described = load(**shown).describe().splitlines()
    assert {f"{name}={value}" for name, value in shown.items()} <= set(described)


def test_every_secret_can_be_in_a_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush-hush\n")
    for name in secret_files():
        settings = load(**{name: str(secret)})
        field = name.removeprefix("FRAUD_").removesuffix("_FILE").lower()
        assert getattr(settings, field).get_secret_value() == "hush-hush"
        assert "hush" not in settings.describe() + repr(settings)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (LARGEST_SECRET + 1), f"more than {LARGEST_SECRET} bytes"),
        (None, "No such file"),
    ],
)
@pytest.mark.parametrize("name", ["FRAUD_INFLUX_TOKEN_FILE", "FRAUD_KAFKA_CONFIG_SASL_PASSWORD_FILE"])
def test_a_file_without_a_secret_is_refused(tmp_path, name, content, said):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load(**{name: str(secret)})
    assert str(refused.value).startswith(f"{name}: {secret}: ")
    assert said in str(refused.value)


def test_a_secret_given_in_both_ways_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush-hush")
    for name in ("FRAUD_INFLUX_TOKEN", "FRAUD_KAFKA_CONFIG_SASL_PASSWORD"):
        with pytest.raises(SettingsError) as refused:
            load(**{name: "hush-hush", f"{name}_FILE": str(secret)})
        assert str(refused.value) == f"{name} and {name}_FILE both give the same: keep one of them"


def test_the_environments_secret_wins_over_that_of_the_file_of_settings(tmp_path):
    secret, file = tmp_path / "secret", tmp_path / ".env"
    secret.write_text("new")
    file.write_text("FRAUD_INFLUX_TOKEN=old\nFRAUD_KAFKA_CONFIG_SASL_PASSWORD=old\n")
    named = {"FRAUD_INFLUX_TOKEN_FILE": str(secret), "FRAUD_KAFKA_CONFIG_SASL_PASSWORD_FILE": str(secret)}
    settings = Settings.load(named, env_file=file)
    assert settings.influx_token.get_secret_value() == "new"
    assert settings.kafka_config()["sasl.password"] == "new"


def test_an_option_that_names_a_file_itself_is_left_as_it_is():
    settings = load(FRAUD_KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE="/etc/key.pem")
    assert settings.kafka_config()["sasl.oauthbearer.assertion.private.key.file"] == "/etc/key.pem"


def test_a_url_with_a_password_is_refused_without_showing_it():
    for url in ("http://user:hush-hush@host:8086", "user:hush-hush@host:8086"):
        with pytest.raises(SettingsError) as refused:
            load(FRAUD_INFLUX_URL=url)
        assert "FRAUD_INFLUX_URL" in str(refused.value)
        assert "hush" not in str(refused.value)


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
    assert set(named) == set(known_names()) - set(secret_files())
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


def test_the_options_in_the_security_guide_are_those_of_the_client(tmp_path):
    text = (ROOT / "docs" / "security.md").read_text()
    blocks = re.findall(r"```sh\n(FRAUD_.*?)```", text, re.S)
    assert len(blocks) == 2
    secret = tmp_path / "secret"
    secret.write_text("hush")
    for block in blocks:
        named = dict(line.split("=", 1) for line in block.splitlines())
        named = {name: str(secret) if name.endswith("_FILE") else value for name, value in named.items()}
        config = {"security.protocol": "SASL_SSL", **load(**named).kafka_config()}
        config.pop("ssl.ca.location", None)  # there is no such file here
        AdminClient({**config, "log_level": 0})
    assert "bootstrap.servers" in config
