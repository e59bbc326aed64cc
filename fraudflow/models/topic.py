"""The models' topic as the commands read and write it."""

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser

import typer

from connectors.kafka import KafkaUnavailable, missing_message, missing_topics
from connectors.kafka_table import read_to_end
from flows.encoding import model_records
from flows.settings import Settings
from fraudflow.sending import DeliveryFailed, Sender
from operators.model.control import Control
from operators.model.files import load_model
from operators.model.registry import NoSuchModel, Registry
from operators.model.specification import ModelError


def read_registry(settings: Settings) -> Registry:
    """What the topic holds now. Raises KafkaUnavailable, typer.Exit where there is no such topic."""
    config = settings.kafka_config()
    absent = missing_topics(config, [settings.model_topic])
    if absent:
        typer.echo(missing_message(absent, config), err=True)
        raise typer.Exit(1)
    return Registry(read_to_end(config, [settings.model_topic]).batches)


def champion(settings: Settings, registry: Registry) -> str | None:
    """The model that decides: by command, or the first of the model's file; None where neither says it."""
    if registry.promoted is not None:
        return registry.promoted
    try:
        return load_model(settings.model_file).name if settings.model_file else None
    except ModelError:
        return None


def write(settings: Settings, control: Control) -> None:
    """Puts a command into force. Raises DeliveryFailed."""
    sender = Sender(settings.kafka_config())
    sender.connect(settings.model_topic)
    for record in model_records(control):
        assert record.value is not None
        sender.send(settings.model_topic, record.key, record.value)
    sender.flush()


@contextmanager
def told() -> Iterator[None]:
    """What people can mend is one line and exit code 1."""
    try:
        yield
    except (KafkaUnavailable, DeliveryFailed, NoSuchModel) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def user() -> str:
    """Who gives a command, as the system knows them."""
    try:
        return getuser()
    except (OSError, KeyError):  # no name for the user id, as in some containers
        return "unknown"
