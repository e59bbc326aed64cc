"""The work that is measured: that of a card issuer.

Users by Zipf's law (exponent 0.6), a steady pace with about 17 of a user's events in an hour (weighted by event),
batches of 1,000. They are made just before they are used: old, cold objects would be measured otherwise.
"""

import time
from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import NamedTuple

import orjson

from operators.times import iso
from operators.transactions.records import Transaction

clock = time.thread_time
"""Processor time: what other programs take meanwhile is not ours."""

BATCH = 1000
START = 1_733_324_400_000
LATENESS = 60_000
PLACES = ["paris", "rome", "lyon", "oslo", "bern", "graz", "bari", "cork"]
ONE = ("count_1m",)
THREE = ("count_1m", "sum_amount_1h", "distinct_location_5m")
TEN = (
    *THREE,
    "mean_amount_24h",
    "max_amount_1h",
    "std_amount_1h",
    "seconds_since_last",
    "mean_amount_last20",
    "count_tumbling_1m",
    "count_5m",
)


class Messages(NamedTuple):
    """A batch as it comes from the broker."""

    topic: str
    partition: int
    offsets: range
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


def transactions(events: int, users: int, late: float, seed: int) -> Iterator[list[Transaction]]:
    """Batches of transactions; `late` of them lie up to a minute behind."""
    random = Random(seed)
    weights = list(accumulate((rank + 1) ** -0.6 for rank in range(users)))
    # The event-weighted number of a user's events in an hour is sum(p^2) * events an hour; 17 of them are wanted.
    share = sum(((rank + 1) ** -0.6) ** 2 for rank in range(users)) / weights[-1] ** 2
    step = 3_600_000 * share / 17
    ids = [f"user-{number}" for number in range(users)]
    now = float(START)
    for number in range(events // BATCH):
        batch = []
        for i, user in enumerate(random.choices(ids, cum_weights=weights, k=BATCH)):
            now += step
            behind = random.randrange(LATENESS) if random.random() < late else 0
            amount = random.randrange(100_000) / 100
            place = random.choice(PLACES)
            batch.append(Transaction("card", f"tx-{number:06}-{i:04}", int(now) - behind, user, amount, location=place))
        yield batch


def messages(events: int, users: int, late: float, seed: int) -> Iterator[Messages]:
    """The same as JSON."""
    for number, batch in enumerate(transactions(events, users, late, seed)):
        values: list[bytes | None] = [
            orjson.dumps(
                {
                    "transaction_id": t.transaction_id,
                    "customer_id": t.user_id,
                    "amount": t.amount,
                    "location": t.location,
                    "timestamp": iso(t.event_time),
                }
            )
            for t in batch
        ]
        offsets = range(number * BATCH, (number + 1) * BATCH)
        yield Messages("transactions", 0, offsets, [batch[-1].event_time + LATENESS] * BATCH, [None] * BATCH, values)
