"""The topology. Step ids are an interface: state is recovered by them."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream

from connectors.drain import Drain
from connectors.recovery import Run
from flows import collector, encoding, starting, steps
from flows.ends import Sinks, Sources, kafka_ends, kafka_first_models, kafka_start
from flows.failures import map_value
from flows.framing import check_registry
from flows.keeping import Keeping, Whole
from flows.parts import Parts
from flows.settings import Settings
from flows.skipping import leaving_out
from operators.decisions.decide import NOTHING
from operators.model.contest import NO_MODELS
from operators.model.control import Control
from operators.model.events import ModelEvent
from operators.model.first import FirstModel
from operators.model.scoring import Weights
from operators.rules import Start

log = logging.getLogger(__name__)
WHOLE = Whole()


def build(
    settings: Settings,
    sources: Sources,
    sinks: Sinks,
    start: Start = NOTHING,
    first: Mapping[str, FirstModel] = NO_MODELS,
    keeping: Keeping = WHOLE,
) -> Dataflow:
    """The dataflow over these sources and sinks. Reads the rules and the model that the settings name.

    `start` is what the topics of rules and lists hold already: its rules' windows are kept too. `first` are models
    that were trained on a history: the one of this name is what scoring and learning begin with. `keeping` is how large
    state is kept.
    """
    parts = Parts(settings, start, first)
    routing, columns = parts.routing, parts.columns

    flow = Dataflow("fraud")

    read = leaving_out(parts.decoder.transactions, settings.skip_messages)
    read_labels = leaving_out(parts.decoder.labels, settings.skip_messages)
    decoded = steps.decode("decode", op.input("transactions_in", flow, sources.transactions), read)
    decoded_labels = steps.decode("decode_labels", op.input("labels_in", flow, sources.labels), read_labels)
    labels = op.merge("all_labels", decoded, decoded_labels)

    user, *others = parts.plan.entities
    by_user = steps.with_labels("user_labels", steps.by_user("by_user", decoded, routing), labels, user, routing)
    featured = steps.user_windows("user_windows", by_user, user, columns, keeping)
    featured, completed = steps.and_completed("user", featured, user, None)
    for entity in others:
        name = entity.name
        by_entity = steps.by_entity(f"by_{name}", featured, entity, routing)
        by_entity = steps.with_labels(f"{name}_labels", by_entity, labels, entity, routing)
        by_entity = steps.with_completed_labels(f"{name}_completed_labels", by_entity, completed, entity, routing)
        featured = steps.entity_windows(f"{name}_windows", by_entity, entity, columns, keeping)
        featured, completed = steps.and_completed(name, featured, entity, completed)
    by_shard = steps.by_shard("by_shard", featured, routing, by_user=not others)

    changes = steps.changes("changes", op.input("rules_in", flow, sources.rules), parts.changes.read)
    control: KeyedStream[Any] = steps.control("control", changes, routing.shards)
    if parts.model:
        models_read = steps.models_read("models_read", op.input("models_in", flow, sources.models))
        published = steps.published("published", models_read)
        models_in_force = steps.control_models("control_weights", published, routing.shards)
        control = op.merge("all_control", control, models_in_force)
    decided = steps.decide("decide", by_shard, control, parts.decider, columns)

    alerts = steps.alert_policy("alert_policy", decided)
    op.output("alerts_out", map_value("alert_records", alerts, encoding.alert_records), sinks.alerts)

    letters = steps.dead_letters("dead_letters", op.merge("all_decoded", decoded, decoded_labels))
    letter_records = map_value("dead_letter_records", letters, encoding.dead_letter_records)
    op.output("dead_letters_out", letter_records, sinks.dead_letters)

    partials = op.merge(
        "all_partials",
        steps.partial_stats("partial_stats", decided),
        steps.partial_dead_letters("partial_dead_letters", letters),
    )
    events: KeyedStream[Any] = steps.rule_events("rule_events", changes)
    points = op.merge("all_counts", steps.live_stats("live_stats", partials), steps.rule_points("rule_points", events))

    if parts.model:
        labels_by_shard = steps.labels_by_shard("labels_by_shard", labels, routing)
        examples = steps.label_join("label_join", decided, labels_by_shard, parts.label_join, keeping)
        trained = steps.train("train", examples, published, parts.model.name, parts.contest)
        models = steps.only("weights", trained, Weights, Control)
        op.output("models_out", map_value("model_records", models, encoding.model_records), sinks.models)
        refused = steps.models_refused("models_refused", models_read)
        events = op.merge("all_events", events, refused, steps.only("model_events", trained, ModelEvent))
        points = op.merge("all_points", points, steps.points_of("model_points", trained))

    op.output("model_events_out", map_value("event_records", events, encoding.event_records), sinks.model_events)
    op.output("stats_out", map_value("point_records", points, encoding.point_records), sinks.stats)
    if sinks.influx is not None:
        op.output("alerts_influx", map_value("alert_lines", alerts, encoding.alert_lines), sinks.influx)
        op.output("stats_influx", map_value("point_lines", points, encoding.point_lines), sinks.influx)
    return flow


def get_flow() -> Dataflow:
    """The flow as the environment configures it, on Kafka: what `python -m bytewax.run flows.fraud:get_flow` runs.

    SIGTERM and SIGINT drain it: no more is read, what is under way is finished and snapshotted, the exit code is 0.
    Ends with a message, and exit code 2, where settings, rules or model are wrong, a topic is missing, or the recovery
    directory is another run's or does not fit; with 75 where no broker answers, which may pass.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run = Run.of(sys.argv[1:], os.environ)
    with starting.refusals_told():
        settings = Settings.load()
        state = starting.State(run)
        check_registry(settings)
        drain = Drain()
        sources, sinks = kafka_ends(settings, drain, run.directory, state.parts_read)
        first = kafka_first_models(settings)
        flow = build(settings, sources, sinks, kafka_start(settings), first, state.keeping)
        state.check(flow, settings)
    drain.install()
    collector.settle()
    starting.watch(settings, run)
    log.info("%s", starting.ready(settings, run.directory))
    return flow
