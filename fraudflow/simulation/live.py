"""A simulation sent as it is made, and a recording sent again."""

import sys
import time
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

from flows.settings import Settings
from fraudflow.sending import DeliveryFailed, Pace, Sender
from fraudflow.simulation.cards import CardTraffic
from fraudflow.simulation.files import BadFile, read_rows
from fraudflow.simulation.mobile_money import MobileMoneyTraffic
from fraudflow.simulation.stream import Mix, Stream, Traffic


class Plan(NamedTuple):
    """What is to be sent. Times in milliseconds, `rate` in messages a second."""

    form: str
    rate: float
    seconds: float
    seed: int
    start: int
    users: int | None
    scenarios: tuple[str, ...]
    fraud_share: float
    label_delay: int
    late_share: float
    late_by: int
    malformed_share: float
    drift_after: int | None
    topic: str = ""
    label_topic: str = ""
    paysim_start: int = 0

    @property
    def span(self) -> int:
        return int(self.seconds * 1000)


class Recording(NamedTuple):
    """A file to be sent: at `rate` messages a second, or where that is None `speed` times as fast as it was."""

    path: Path
    rate: float | None
    speed: float


def run(plan: Plan, recording: Recording | None, bootstrap: str | None) -> int:
    """Sends a simulation or a recording to the servers of the settings. The exit code: 1 where delivery failed."""
    settings = Settings.load()
    config = settings.kafka_config()
    if bootstrap:
        config["bootstrap.servers"] = bootstrap
    plan = plan._replace(
        topic=plan.topic or settings.transaction_topics[0],
        label_topic=settings.label_topic,
        paysim_start=settings.paysim_start,
    )
    try:
        sender = Sender(config)
    except DeliveryFailed as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 1
    try:
        sender.connect(plan.topic, plan.label_topic)
        if recording is None:
            send_live(sender, plan)
        else:
            send_file(sender, recording, plan)
    except (DeliveryFailed, BadFile) as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        sender.flush()
        print(f"stopped: {sender.delivered:,} messages delivered", file=sys.stderr)
        return 130
    return 0


def stream_of(plan: Plan) -> Stream:
    """The stream of a plan: the same plan gives the same bytes."""
    rng = Random(plan.seed)
    # About one purchase a user in ten minutes, so that ordinary people are not taken for bursts; memory sets the end.
    users = plan.users or min(200_000, max(1_000, int(plan.rate * 600)))
    drift_at = None if plan.drift_after is None else plan.start + plan.drift_after
    traffic: Traffic
    if plan.form == "paysim":
        traffic = MobileMoneyTraffic(
            rng, users=users, start=plan.start, span=plan.span, drift_at=drift_at, epoch=plan.paysim_start
        )
    else:
        traffic = CardTraffic(rng, plan.form, users=users, start=plan.start, span=plan.span, drift_at=drift_at)
    mix = Mix(
        scenarios=plan.scenarios,
        fraud_share=plan.fraud_share,
        late_share=plan.late_share,
        late_by=plan.late_by,
        malformed_share=plan.malformed_share,
        label_delay=plan.label_delay,
    )
    return Stream(traffic, rng, f"{plan.form}-{plan.seed}-{plan.start:x}", mix)


def send_live(sender: Sender, plan: Plan) -> None:
    """Sends a simulation at its rate, then the labels that are due later, each at its time."""
    stream = stream_of(plan)
    step = 1000.0 / plan.rate
    times = (plan.start + int(number * step) for number in range(max(1, round(plan.rate * plan.seconds))))
    pace = Pace(sender, plan.rate)
    sent = 0
    for message in stream.messages(times):
        if message.is_label:
            sender.send(plan.label_topic, message.key, message.value)
            continue
        # A clock reading and a call for every message would be felt at 100,000 a second.
        if sent & 15 == 0 or plan.rate < 2_000:
            pace.wait(sent)
        sender.send(plan.topic, message.key, message.value)
        sent += 1
        if sent & 1023 == 0:
            sender.poll()
    took = time.perf_counter() - pace.begin
    sender.flush()
    took = max(took, plan.seconds)
    _tell(f"{sent:,} messages in {took:.1f} s: {sent / took:,.0f} a second, all delivered")
    _tell(f"{stream.frauds:,} frauds, {stream.malformed:,} malformed messages")
    if stream.waiting_labels:
        _tell(f"{stream.waiting_labels:,} labels follow within {plan.label_delay / 1000:g} s (Ctrl-C leaves them out)")
    labels = 0
    for message in stream.remaining_labels():
        pace.wait_until(pace.begin + (message.time - plan.start) / 1000)
        sender.send(plan.label_topic, message.key, message.value)
        labels += 1
    sender.flush()
    if labels:
        _tell(f"{labels:,} labels delivered")


def send_file(sender: Sender, recording: Recording, plan: Plan) -> None:
    """Sends a recording in its own order."""
    rows = read_rows(recording.path, plan.paysim_start)
    first = next(rows, None)
    if first is None:
        _tell(f"{recording.path}: no transactions")
        return
    pace = Pace(sender, recording.rate or 1.0)
    sent = 0
    for row in chain((first,), rows):
        if recording.rate:
            pace.wait(sent)
        elif row.time is not None and first.time is not None:
            pace.wait_until(pace.begin + (row.time - first.time) / 1000 / recording.speed)
        sender.send(plan.topic, row.key, row.value)
        sent += 1
        if sent & 1023 == 0:
            sender.poll()
    sender.flush()
    took = time.perf_counter() - pace.begin
    _tell(f"{sent:,} messages in {took:.1f} s: {sent / took:,.0f} a second, all delivered")


def _tell(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
