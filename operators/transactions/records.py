"""The records that every operator works on. Times are whole milliseconds since the epoch, UTC."""

import msgspec


class Transaction(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One transaction, normalised from any of the accepted formats.

    `event_time` is the message's own time, `arrived_at` the broker's timestamp. What the message did not hold is None.
    Fields that are known only after the transaction, and its label, are never here.
    """

    format: str
    transaction_id: str
    event_time: int
    user_id: str
    amount: float
    currency: str | None = None
    type: str | None = None
    merchant_id: str | None = None
    receiver_id: str | None = None
    category: str | None = None
    country: str | None = None
    location: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    old_balance: float | None = None
    receiver_old_balance: float | None = None
    arrived_at: int = 0


class Label(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became known of a transaction, usable from `arrives_at` (event time) on."""

    transaction_id: str
    is_fraud: bool
    arrives_at: int
    source: str
    user_id: str = ""
    merchant_id: str | None = None
    receiver_id: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message that could not be used: its bytes as they came, and why."""

    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    arrived_at: int = 0
