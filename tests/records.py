"""Short ways to write transactions in tests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from operators.times import parse_time
from operators.transactions.records import Transaction

NOON = parse_time("2024-12-04T12:00:00Z")
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def transaction(user_id: str = "u1", at: int = 0, amount: float = 10.0, **fields: Any) -> Transaction:
    """A transaction `at` milliseconds after noon; its id is made of user and time unless given."""
    fields.setdefault("transaction_id", f"{user_id}@{at}")
    fields.setdefault("format", "card")
    fields.setdefault("arrived_at", NOON + at)
    return Transaction(event_time=NOON + at, user_id=user_id, amount=amount, **fields)


class Batch(NamedTuple):
    """Messages of one partition, as a source hands them over."""

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
