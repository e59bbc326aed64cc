"""The topology. Step ids are an interface: state is recovered by them."""

import logging
import sys
from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from connectors.drain import Drain
from connectors.influxdb import InfluxSink, LineQueue, Target
from connectors.kafka import KafkaUnavailable, TopicProblem, missing_message, missing_topics
from connectors.kafka_sink import KafkaSink, SharedProducer
from connectors.kafka_source import KafkaSource, RawBatch
from flows import encoding, steps
from flows.exchange import Routing
from flows.settings import Settings, SettingsError
from operators.decisions.decide import Decider, Thresholds
from operators.features.plan import Plan
from operators.model.encoding import Encoder
from operators.model.join import LabelJoin
from operators.model.scoring import Weights
from operators.model.specification import ModelError, Specification, load_model
from operators.model.training import ModelEvent, Trainer
from operators.rules import RuleError, load_rules
from operators.transactions.decoding import Decoder
from operators.transactions.formats import Limits


@dataclass(frozen=True)
class Sources:
    """Where messages come from."""

    transactions: Source[RawBatch]
    labels: Source[RawBatch]
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


def build(settings: Settings, sources: Sources, sinks: Sinks) -> Dataflow:
    """The dataflow over these sources and sinks. Reads the rules and the model that the settings name."""
    rules = load_rules(settings.rules_file)
    model = load_model(settings.model_file) if settings.model_file else None
    plan = Plan.of((*rules.names, *(model.names if model else ())), allowed_lateness=settings.allowed_lateness)
    encoder = Encoder(model, plan) if model else None
    thresholds = Thresholds(settings.review_threshold, settings.block_threshold)
    routing = Routing(settings.key_groups, settings.shards)
    decoder = Decoder(limits(settings))

    flow = Dataflow("fraud")

    raw = op.input("transactions_in", flow, sources.transactions)
    decoded = steps.decode("decode", raw, decoder.transactions)
    by_user = steps.by_user("by_user", decoded, routing)
    featured = steps.user_windows("user_windows", by_user, plan.entities[0])
    for entity in plan.entities[1:]:
        by_entity = steps.by_entity(f"by_{entity.entity}", featured, entity, routing)
        featured = steps.entity_windows(f"{entity.entity}_windows", by_entity, entity)
    by_shard = steps.by_shard("by_shard", featured, routing)

    raw_labels = op.input("labels_in", flow, sources.labels)
    decoded_labels = steps.decode("decode_labels", raw_labels, decoder.labels)

    control = None
    if model:
        published = op.input("models_in", flow, sources.models)
        control = steps.control("control", published, routing, model.name)
    decided = steps.decide("decide", by_shard, control, lambda: Decider(rules, plan.name, encoder, thresholds))

    alerts = steps.alert_policy("alert_policy", decided)
    op.output("alerts_out", op.map_value("alert_records", alerts, encoding.alert_records), sinks.alerts)

    letters = steps.dead_letters("dead_letters", op.merge("all_decoded", decoded, decoded_labels))
    letter_records = op.map_value("dead_letter_records", letters, encoding.dead_letter_records)
    op.output("dead_letters_out", letter_records, sinks.dead_letters)

    partials = op.merge(
        "all_partials",
        steps.partial_stats("partial_stats", decided),
        steps.partial_dead_letters("partial_dead_letters", letters),
    )
    points = steps.live_stats("live_stats", partials)

    if model:
        labels = steps.labels_by_shard("labels_by_shard", op.merge("all_labels", decoded, decoded_labels), routing)
        examples = steps.label_join("label_join", decided, labels, lambda state: label_join(settings, state))
        trained = steps.train("train", examples, model.name, lambda state: trainer(settings, model, state))
        weights = steps.only("weights", trained, Weights)
        op.output("models_out", op.map_value("model_records", weights, encoding.model_records), sinks.models)
        events = steps.only("model_events", trained, ModelEvent)
        op.output("model_events_out", op.map_value("event_records", events, encoding.event_records), sinks.model_events)
        points = op.merge("all_points", points, steps.points_of("model_points", trained))

    op.output("stats_out", op.map_value("point_records", points, encoding.point_records), sinks.stats)
    if sinks.influx is not None:
        op.output("alerts_influx", op.map_value("alert_lines", alerts, encoding.alert_lines), sinks.influx)
        op.output("stats_influx", op.map_value("point_lines", points, encoding.point_lines), sinks.influx)
    return flow


def get_flow() -> Dataflow:
    """The flow as the environment configures it, on Kafka: what `python -m bytewax.run flows.fraud:get_flow` runs.

    SIGTERM and SIGINT drain it: no more is read, what is under way is finished and snapshotted, the exit code is 0.
    Ends with a message, and exit code 2, where settings, rules or model are wrong or a topic is missing.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.load()
        drain = Drain()
        sources, sinks = kafka_ends(settings, drain)
        flow = build(settings, sources, sinks)
    except (SettingsError, RuleError, ModelError, KafkaUnavailable, TopicProblem) as error:
        print(f"fraudflow cannot start: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    drain.install()
    return flow


def kafka_ends(settings: Settings, drain: Drain) -> tuple[Sources, Sinks]:
    """Sources and sinks on Kafka, and on InfluxDB if the settings name one. Raises TopicProblem, KafkaUnavailable."""
    config = settings.kafka_config()
    outputs = (settings.alert_topic, settings.dlq_topic, settings.model_topic, settings.model_event_topic)
    wanted = (*settings.transaction_topics, settings.label_topic, *outputs, settings.stats_topic)
    absent = missing_topics(config, wanted)
    if absent:
        raise TopicProblem(missing_message(absent, config))

    producer = SharedProducer(config, delivery_timeout=settings.delivery_timeout / 1000)

    def source(*topics: str, **options: Any) -> KafkaSource:
        options |= {"drain": drain, "stop_at_end": settings.stop_at_end, "group": settings.kafka_group}
        options |= {"lost_offsets": settings.lost_offsets}
        return KafkaSource(config, topics, **options)

    sources = Sources(
        transactions=source(*settings.transaction_topics, start_from=settings.start_from),
        labels=source(settings.label_topic, start_from=settings.start_from, control=True, read_first=True),
        models=source(settings.model_topic, control=True, read_first=True),
    )
    sinks = Sinks(
        alerts=KafkaSink(producer, settings.alert_topic),
        dead_letters=KafkaSink(producer, settings.dlq_topic),
        models=KafkaSink(producer, settings.model_topic),
        model_events=KafkaSink(producer, settings.model_event_topic),
        stats=KafkaSink(producer, settings.stats_topic),
        influx=influx_sink(settings) if settings.influx_url else None,
    )
    return sources, sinks


def influx_sink(settings: Settings) -> InfluxSink:
    """Into the bucket that the settings name; all measurements share one writer."""
    token = settings.influx_token.get_secret_value()
    target = Target(settings.influx_url, token, settings.influx_org, settings.influx_bucket)
    return InfluxSink(LineQueue(target, deadline=settings.delivery_timeout / 1000))


def limits(settings: Settings) -> Limits:
    """What a message may be, as the settings have it."""
    return Limits(
        paysim_start=settings.paysim_start,
        label_delay=settings.label_delay,
        max_clock_skew=settings.max_clock_skew,
        max_amount=settings.max_amount,
        max_id_length=settings.max_id_length,
        max_message_bytes=settings.max_message_bytes,
    )


def label_join(settings: Settings, state: bytes | None) -> LabelJoin:
    """The join of one shard, with its share of the room."""
    return LabelJoin(
        maturity=settings.label_maturity,
        max_pending=max(1, settings.max_pending_labels // settings.shards),
        snapshot=state,
    )


def trainer(settings: Settings, model: Specification, state: bytes | None) -> Trainer:
    """The one trainer of the flow."""
    return Trainer(model, state, review_threshold=settings.review_threshold)
