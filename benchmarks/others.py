"""What the windows are held against, in memory: the engine's own sliding windows, and a loop by hand."""

from datetime import UTC, datetime, timedelta
from statistics import median
from time import process_time

import bytewax.operators as op
import orjson
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SlidingWindower, count_window
from bytewax.testing import TestingSink, TestingSource, run_main

from benchmarks.peers.plain_loop import User, alerts_of
from benchmarks.work import BATCH, Messages, clock, messages, transactions
from operators.transactions.records import Transaction

START = datetime(2024, 12, 1, tzinfo=UTC)


def by_hand(events: int, users: int, seed: int) -> float:
    """Microseconds an event of a loop that keeps three windows in deques, and knows nothing else: every message as it
    should be, in order, no rule but these three, no state that could be recovered."""
    known: dict[str, User] = {}
    times = []
    for batch in messages(events, users, 0.0, seed):
        began = clock()
        _judged(known, batch)
        times.append(clock() - began)
    return median(times[len(times) // 2 :]) / BATCH * 1e6


def _judged(known: dict[str, User], batch: Messages) -> list[list[str]]:
    return [alerts_of(known, orjson.loads(value)) for value in batch.values if value]


def sliding_windows(events: int, users: int) -> float:
    """Microseconds an event of the engine's sliding windows: one count of a minute, every ten seconds, of transactions
    that are decoded already. It answers when a window closes."""
    flow = Dataflow("stock")
    batches = list(transactions(events, users, 0.0, 1))
    source = TestingSource([transaction for batch in batches for transaction in batch], batch_size=BATCH)
    event_clock: EventClock[Transaction, str] = EventClock(
        lambda t: datetime.fromtimestamp(t.event_time / 1000, UTC), timedelta(0)
    )
    windower = SlidingWindower(timedelta(minutes=1), timedelta(seconds=10), START)
    counted = count_window("count", op.input("in", flow, source), event_clock, windower, lambda t: t.user_id)
    op.output("out", counted.down, TestingSink([]))
    began = process_time()
    run_main(flow)
    return (process_time() - began) / events * 1e6
