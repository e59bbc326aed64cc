"""A first model put on the models' topic, from which a flow takes it up."""

from msgspec import structs

from connectors.kafka_table import read_to_end
from flows.encoding import model_records
from flows.settings import Settings
from fraudflow.sending import Sender
from operators.model.first import FirstModel
from operators.model.registry import Registry


def connect(settings: Settings) -> Sender:
    """Who publishes; finds out before the work whether it can. Raises DeliveryFailed."""
    sender = Sender(settings.kafka_config())
    sender.connect(settings.model_topic)
    return sender


def publish(sender: Sender, settings: Settings, model: FirstModel) -> FirstModel:
    """The model as it was published: under its name, its version above that of what was there, and as a kept version.
    Raises DeliveryFailed, KafkaUnavailable."""
    name = model.weights.name
    there = Registry(read_to_end(settings.kafka_config(), [settings.model_topic]).batches)
    newest = there.newest[name].version if name in there.newest else 0
    published = model._replace(weights=structs.replace(model.weights, version=max(model.weights.version, newest + 1)))
    for record in model_records(published.weights):
        if record.value is not None:
            whole = published.to_json() if record.key == name.encode() else record.value
            sender.send(settings.model_topic, record.key, whole)
    sender.flush()
    return published
