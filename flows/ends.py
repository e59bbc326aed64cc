"""Where the flow begins and ends: its sources and sinks, on Kafka and InfluxDB as the settings have them."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.drain import Drain
from connectors.influxdb import InfluxSink, LineQueue, Target
from connectors.influxdb_spool import Spool
from connectors.kafka import TopicProblem, missing_message, missing_topics
from connectors.kafka_once import OnceSink
from connectors.kafka_sink import KafkaSink, SharedProducer
from connectors.kafka_source import KafkaSource, RawBatch
from connectors.kafka_table import messages_to_end, read_to_end
from flows.parts import read_files
from flows.settings import Settings
from operators.features.plan import known_in
from operators.model.first import FirstModel
from operators.model.scoring import WeightsError
from operators.model.versions import is_newest
from operators.rules import Start, start_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where messages come from."""

    transactions: Source[RawBatch]
    labels: Source[RawBatch]
    rules: Source[RawBatch]
    """The topics of rules and of lists."""
    models: Source[RawBatch]


@dataclass(frozen=True)
class Sinks:
    """Where results go: items `(key, records)` for Kafka, `(key, lines)` for InfluxDB (None: there is none)."""

    alerts: Sink[Any]
    dead_letters: Sink[Any]
    models: Sink[Any]
    model_events: Sink[Any]
    stats: Sink[Any]
    influx: Sink[Any] | None = None


def kafka_ends(
    settings: Settings, drain: Drain, recovery: Path | None, known_parts: Collection[str] = ()
) -> tuple[Sources, Sinks]:
    """Sources and sinks on Kafka, and on InfluxDB if the settings name one. With a recovery directory, which remembers
    what was written, alerts are written once each; `known_parts` are those it has offsets of. Raises TopicProblem,
    KafkaUnavailable."""
    config = settings.kafka_config()
    outputs = (settings.alert_topic, settings.dlq_topic, settings.model_topic, settings.model_event_topic)
    inputs = (*settings.transaction_topics, settings.label_topic, settings.rule_topic, settings.list_topic)
    wanted = (*inputs, *outputs, settings.stats_topic)
    absent = missing_topics(config, wanted)
    if absent:
        raise TopicProblem(missing_message(absent, config))

    patience = settings.delivery_timeout / 1000
    producer = SharedProducer(config, delivery_timeout=patience)

    def source(*topics: str, **options: Any) -> KafkaSource:
        options["known_parts"] = known_parts
        options |= {"drain": drain, "stop_at_end": settings.stop_at_end, "group": settings.kafka_group}
        options |= {"lost_offsets": settings.lost_offsets}
        return KafkaSource(config, topics, **options)

    sources = Sources(
        transactions=source(*settings.transaction_topics, start_from=settings.start_from),
        labels=source(settings.label_topic, start_from=settings.start_from, control=True, read_first=True),
        rules=source(settings.rule_topic, settings.list_topic, control=True, read_first=True),
        models=source(settings.model_topic, control=True, read_first=True),
    )
    alerts: Sink[Any] = KafkaSink(producer, settings.alert_topic)
    if recovery is not None:
        alerts = OnceSink(producer, settings.alert_topic, config, recovery, timeout=patience)
    sinks = Sinks(
        alerts=alerts,
        dead_letters=KafkaSink(producer, settings.dlq_topic),
        models=KafkaSink(producer, settings.model_topic),
        model_events=KafkaSink(producer, settings.model_event_topic),
        stats=KafkaSink(producer, settings.stats_topic),
        influx=influx_sink(settings, recovery) if settings.influx_url else None,
    )
    return sources, sinks


def kafka_start(settings: Settings) -> Start:
    """The rules and lists that their topics hold now. Raises KafkaUnavailable, and RuleError, ModelError and FieldError
    of the files, whose derived fields the rules may use."""
    known_name = known_in(read_files(settings.rules_file, settings.model_file).fields)
    held = read_to_end(settings.kafka_config(), (settings.rule_topic, settings.list_topic))
    start = start_of(held.batches, held.ends, known_name, settings.list_topic)
    if held.batches:
        log.info("%s", start)
    return start


def kafka_first_models(settings: Settings) -> dict[str, FirstModel]:
    """The models that the models' topic holds now with all that a trainer needs to go on from them, by name. Raises
    KafkaUnavailable."""
    if settings.model_file is None:
        return {}
    held = messages_to_end(settings.kafka_config(), (settings.model_topic,))
    found = (message for messages, _ in held.values() for message in messages if is_newest(message.key()))
    newest = {message.key(): message.value() for message in found}
    first: dict[str, FirstModel] = {}
    for key, record in newest.items():
        try:
            model = FirstModel.from_json(record) if record else None
        except WeightsError as error:
            log.error("%s: the record of %r is passed over: %s", settings.model_topic, key, error)
            continue
        if model is not None and key == model.weights.name.encode():
            first[model.weights.name] = model
            log.info("%s holds the first model %s", settings.model_topic, model)
    return first


def influx_sink(settings: Settings, recovery: Path | None) -> InfluxSink:
    """Into the bucket that the settings name; all measurements share one writer. With a recovery directory points wait
    in it while InfluxDB takes none."""
    token = settings.influx_token.get_secret_value()
    target = Target(settings.influx_url, token, settings.influx_org, settings.influx_bucket)
    spool = Spool(recovery / "influxdb-spool", settings.influx_spool_bytes) if recovery else None
    return InfluxSink(LineQueue(target, deadline=settings.delivery_timeout / 1000, spool=spool))
