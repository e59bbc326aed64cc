"""What windows take, measured: a few hundred users are put through them."""

import gc
import tracemalloc
from typing import NamedTuple

import msgspec

from operators.features.plan import EntityPlan
from operators.features.windows import Windows
from operators.times import parse_time
from operators.transactions.records import Transaction

USERS = 300
EVENTS = 10
BEGIN = parse_time("2026-01-01T12:00:00Z")
FULL = Transaction(
    "card", "", 0, "", 0.0, "EUR", "POS", "m1", "r1", "grocery", "FR", "Paris", 48.8, 2.3, 1000.0, 2000.0
)


class Footprint(NamedTuple):
    """Bytes a key."""

    memory: float
    snapshot: float


def footprint(plan: EntityPlan) -> Footprint:
    """Of a key with `EVENTS` events in its windows; transactions that have every field."""
    step = max(1, min(plan.span or 60_000, 3_600_000) // (2 * EVENTS))
    events = [
        msgspec.structs.replace(
            FULL,
            transaction_id=f"{number}-{user}",
            event_time=BEGIN + number * step,
            arrived_at=BEGIN + number * step,
            user_id=f"user-{user}",
            amount=float(10 + number),
            **({} if plan.field == "user_id" else {plan.field: _key(plan.field, user)}),
        )
        for number in range(EVENTS)
        for user in range(USERS)
    ]
    values = {"number": 1.0, "text": "text", "boolean": True}
    rows = [tuple(values[name.kind] for name in plan.given.values())] * len(events)
    windows = Windows(plan)
    gc.collect()
    tracemalloc.start()
    try:
        windows.update(events, rows)
        gc.collect()
        memory = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return Footprint(memory / USERS, len(windows.snapshot()) / USERS)


def _key(field: str, user: int) -> str | float:
    return float(user) if isinstance(getattr(FULL, field), float) else f"{field}-{user}"
