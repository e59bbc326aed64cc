"""The same on Bytewax's own operators: its Kafka source and sink, one state a user.

    python -m bytewax.run benchmarks.peers.stock_bytewax:stateful_map     or: …:sliding_windows

`sliding_windows` answers when a window closes, so it can't judge a transaction; it counts only: a minute, every ten
seconds. PEER_BOOTSTRAP, PEER_INPUT and PEER_OUTPUT tell where to read and write.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import windowing
from bytewax.operators.windowing import EventClock, SlidingWindower

from benchmarks.peers.plain_loop import User, milliseconds
from benchmarks.peers.topology import MOST_IN_A_MINUTE

Message = dict[str, Any]
MINUTE, EVERY, START = timedelta(minutes=1), timedelta(seconds=10), datetime(2024, 12, 1, tzinfo=UTC)


def stateful_map() -> Dataflow:
    """The windows by hand, in one `stateful_map`."""
    flow, messages = messages_in()
    judged = op.stateful_map("windows", op.key_on("by_user", messages, user_of), judge)
    suspicious = op.filter("suspicious", judged, lambda item: bool(item[1][1]))
    return alerts_out(flow, op.map("alerts", suspicious, lambda item: alert_of(*item[1])))


def sliding_windows() -> Dataflow:
    """One of the three windows by the engine's own operator."""
    flow, messages = messages_in()
    clock: EventClock[Message, Any] = EventClock(
        lambda message: datetime.fromisoformat(message["timestamp"]), timedelta(0)
    )
    windower = SlidingWindower(MINUTE, EVERY, START)
    counted = windowing.count_window("count", messages, clock, windower, user_of)
    busy = op.filter("busy", counted.down, lambda item: item[1][1] > MOST_IN_A_MINUTE)
    return alerts_out(flow, op.map("alerts", busy, closed))


def closed(item: tuple[str, tuple[int, int]]) -> KafkaSinkMessage[Any, Any]:
    """An alert for a window: named by its user and its end, in ms since 1970."""
    user, (number, _) = item
    end = START + EVERY * number + MINUTE
    return alert_of({"transaction_id": f"{user}-{round(end.timestamp() * 1000)}"}, ["velocity"])


def messages_in() -> tuple[Dataflow, Stream[Message]]:
    """The flow with its source."""
    flow = Dataflow("stock")
    source = KafkaSource([os.environ["PEER_BOOTSTRAP"]], [os.environ["PEER_INPUT"]], batch_size=1000)
    raw: Stream[Any] = op.input("in", flow, source)
    return flow, op.map("parsed", raw, lambda message: orjson.loads(message.value))


def alerts_out(flow: Dataflow, alerts: Stream[Any]) -> Dataflow:
    """The flow with its sink."""
    kafka.output("out", alerts, brokers=[os.environ["PEER_BOOTSTRAP"]], topic=os.environ["PEER_OUTPUT"])
    return flow


def user_of(message: Message) -> str:
    """The key."""
    user: str = message["customer_id"]
    return user


def judge(user: User | None, message: Message) -> tuple[User, tuple[Message, list[str]]]:
    """The state, and the rules that fire."""
    user = user or User()
    rules = user.enter(milliseconds(message["timestamp"]), round(message["amount"] * 100), message["location"])
    return user, (message, rules)


def alert_of(message: Message, rules: list[str]) -> KafkaSinkMessage[Any, Any]:
    """An alert as a record."""
    return KafkaSinkMessage(None, orjson.dumps({"transaction_id": message["transaction_id"], "rules": rules}))
