"""State as it is stored: whole, or refused as damaged, whatever happened to the bytes."""

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from zlib import crc32

import msgspec

from connectors.kafka_once import state_of
from operators.decisions.cooldown import Cooldown
from operators.decisions.decide import Decider, Thresholds
from operators.decisions.statistics import LiveStatistics, partial_of
from operators.features.plan import Plan
from operators.features.windows import StateError, Windows
from operators.model.join import Decided, Example, LabelJoin
from operators.model.training import Trainer
from operators.rules import RuleError
from operators.transactions.records import Label
from tests.fuzz.messages import ENCODER, MODEL, PLAN, RULES, SOME, WEIGHTS
from tests.fuzz.targets import target
from tests.records import HOUR, NOON

OTHER = Plan.of(("count_2h", "distinct_location_1h", "fraud_rate_7d"), allowed_lateness=0).entities[0]


def windows_state() -> bytes:
    """Of some users."""
    windows = Windows(PLAN.entities[0])
    windows.update(SOME.transactions)
    return windows.snapshot()


def other_windows_state() -> bytes:
    """Of another plan, to be converted."""
    windows = Windows(OTHER)
    windows.update(SOME.transactions)
    return windows.snapshot()


def join_state() -> bytes:
    """Of pending transactions, labels that wait, and one that was corrected."""
    join = LabelJoin(maturity=HOUR)
    join.decided([Decided(f"t{n}", NOON + n, {"amount": 1.0, "size": 0.5}, 0.5, 1.0) for n in range(3)])
    join.labels([Label("t1", True, NOON, "analyst", "u"), Label("later", False, NOON, "analyst", "u")])
    return join.snapshot()


def trainer_state() -> bytes:
    """Of a model that has learned a little."""
    trainer = Trainer(MODEL)
    x = {"amount": 2.0, "size": 0.5, "size is known": 1.0}
    trainer.learn([Example(f"t{n}", n, n, x, 0.5, n % 5 == 0, 1.0, 1.0) for n in range(20)], 1)
    return trainer.snapshot()


def decider() -> Decider:
    return Decider(RULES, PLAN.name, ENCODER, Thresholds(0.5, 0.9))


def decider_state() -> bytes:
    """With weights in force."""
    made = decider()
    made.use(WEIGHTS)
    return made.snapshot()


def decided() -> Any:
    made = decider()
    rows = Windows(PLAN.entities[0]).update(SOME.transactions)
    return made.decide(SOME.transactions, rows, NOON)


def cooldown_state() -> bytes:
    cooldown = Cooldown()
    cooldown.apply(decided().suspicious)
    return cooldown.snapshot()


def statistics_state() -> bytes:
    statistics = LiveStatistics()
    statistics.add([partial_of(decided())])
    return statistics.snapshot()


def sound(data: bytes) -> bytes:
    """With the right checksum, so that what is behind it is reached too."""
    if len(data) < 14 or not data.startswith(b"FWIN"):
        return data
    return data[:6] + struct.pack("<I", crc32(memoryview(data)[10 + 4 :])) + data[10:]


def refused_or(make: Callable[[], Any]) -> Any:
    """What is made, or None where the state is refused in words."""
    with suppress(StateError, RuleError):
        return make()
    return None


@target(windows_state(), other_windows_state())
def windows(data: bytes) -> None:
    """The windows of a key group."""
    for state in (data, sound(data)):
        for plan in (PLAN.entities[0], OTHER):
            refused_or(lambda plan=plan, state=state: Windows(plan, state))


@target(join_state(), join_state()[:-5])
def joins(data: bytes) -> None:
    """The pending labels of a shard. Without its last five bytes a state has no checksum: what it guards is read."""
    refused_or(lambda: LabelJoin(maturity=HOUR, snapshot=data))
    refused_or(lambda: LabelJoin(maturity=HOUR, snapshot=b"\x93" + data[1:]))


@target(trainer_state())
def trainers(data: bytes) -> None:
    """The model."""
    refused_or(lambda: Trainer(MODEL, data))


@target(decider_state(), WEIGHTS.to_json())
def deciders(data: bytes) -> None:
    """The rules, lists and weights in force."""
    refused_or(lambda: decider().restore(data))


@target(cooldown_state())
def cooldowns(data: bytes) -> None:
    """Who is quiet until when."""
    refused_or(lambda: Cooldown(data))


@target(statistics_state())
def statistics(data: bytes) -> None:
    """The sums of the latest seconds."""
    refused_or(lambda: LiveStatistics(data))


@target(msgspec.msgpack.encode((1, {0: 5}, ["a", "b"])))
def sinks(data: bytes) -> None:
    """How far the alerts are in their topic."""
    with suppress(ValueError):
        state_of("alerts_out", data)
