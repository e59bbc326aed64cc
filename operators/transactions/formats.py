"""The accepted formats, told apart by their fields; each becomes the one `Transaction`."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from operators.showing import shown
from operators.times import is_plain, parse_time
from operators.transactions.records import Transaction

HOUR = 3_600_000
Object = Mapping[str, Any]

REASONS = (
    "not_json",
    "not_an_object",
    "unknown_format",
    "missing_field",
    "wrong_type",
    "amount_not_finite",
    "amount_negative",
    "amount_absurd",
    "time_unreadable",
    "time_in_future",
    "id_too_long",
    "message_too_large",
)
"""Every reason that a dead letter can have, and those of messages framed for a Schema Registry."""

FRAME_REASONS = ("bad_magic_byte", "schema_unknown", "not_decodable")


class Rejected(ValueError):
    """A message that can't be used: `reason` is one of `REASONS` or `FRAME_REASONS`,
    the text says what is wrong and what is wanted."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


class Limits(NamedTuple):
    """What a message may be. Times and delays in milliseconds."""

    paysim_start: int = 0
    label_delay: int = 7 * 24 * HOUR
    max_clock_skew: int = 300_000
    max_amount: float = 1e9
    max_id_length: int = 256
    max_message_bytes: int = 1_000_000


def read_simple(
    message: Object, user_field: str, fallback_id: str, arrived_at: int | None, limits: Limits
) -> Transaction:
    """The `simple` and `card` formats: a user, an amount, a time, and whatever else is known."""
    get = message.get
    longest = limits.max_id_length
    return Transaction(
        format="simple" if user_field == "userId" else "card",
        transaction_id=_either(message, "transaction_id", "transactionId", longest) or fallback_id,
        event_time=_time(message, "timestamp", arrived_at, limits),
        user_id=_id(message, user_field, longest),
        amount=_amount(message, limits),
        currency=_text(message, "currency", longest),
        type=_text(message, "type", longest),
        merchant_id=_either(message, "merchant", "merchant_id", longest),
        receiver_id=_either(message, "receiver", "receiver_id", longest),
        category=_text(message, "category", longest),
        country=_text(message, "country", longest),
        location=_text(message, "location", longest),
        latitude=None if get("latitude") is None else _degrees(message, "latitude", 90),
        longitude=None if get("longitude") is None else _degrees(message, "longitude", 180),
        arrived_at=arrived_at or 0,
    )


def read_paysim(
    message: Object, user_field: str, fallback_id: str, arrived_at: int | None, limits: Limits
) -> Transaction:
    """The `paysim` format. The balances after the transaction and `isFlaggedFraud` are known only afterwards and are
    not read; a receiver whose name begins with M is a merchant."""
    longest = limits.max_id_length
    receiver = _text(message, "nameDest", longest)
    step = _number(message, "step")
    if step is None:
        raise Rejected("missing_field", "`step` is missing: the hour since the start of the simulation")
    if not 0 <= step <= 1_000_000:
        raise Rejected("time_unreadable", f"`step` is {shown(step)}: wanted the hour since the start of the simulation")
    return Transaction(
        format="paysim",
        transaction_id=_either(message, "transaction_id", "transactionId", longest) or fallback_id,
        event_time=_checked(limits.paysim_start + int(step * HOUR), arrived_at, limits),
        user_id=_id(message, user_field, longest),
        amount=_amount(message, limits),
        currency=_text(message, "currency", longest),
        type=_text(message, "type", longest),
        merchant_id=receiver if receiver is not None and receiver.startswith("M") else None,
        receiver_id=receiver,
        old_balance=_number(message, "oldbalanceOrg"),
        receiver_old_balance=_number(message, "oldbalanceDest"),
        arrived_at=arrived_at or 0,
    )


Reader = Callable[[Object, str, str, int | None, Limits], Transaction]

# The field that tells a format and holds its user, in the order in which they are looked for.
FORMATS: tuple[tuple[str, Reader], ...] = (
    ("nameOrig", read_paysim),
    ("userId", read_simple),
    ("customer_id", read_simple),
    ("customerId", read_simple),
    ("user_id", read_simple),
)


def read_transaction(
    message: Object, fallback_id: str, arrived_at: int | None, limits: Limits
) -> tuple[Transaction, bool | None]:
    """The transaction in `message`, and its label where the message holds one.

    `arrived_at` is the broker's timestamp: the event time of a message without one, and what the future is measured
    against; None for a file. Raises Rejected.
    """
    for user_field, reader in FORMATS:
        if user_field in message:
            return reader(message, user_field, fallback_id, arrived_at, limits), _label(message)
    known = ", ".join(f"`{field}`" for field, _ in FORMATS)
    raise Rejected("unknown_format", f"none of {known} is there to tell the format")


def read_flag(message: Object, field: str) -> bool | None:
    """A yes or no, as a boolean, 0 or 1, or a text of these; None where it is missing."""
    value = message.get(field)
    if value is None or value is True or value is False:
        return value
    if value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("0", "1", "true", "false"):
        return value.strip().lower() in ("1", "true")
    raise Rejected("wrong_type", f"`{field}` is {shown(value)}: wanted true, false, 0 or 1")


def read_id(message: Object, field: str, longest: int) -> str | None:
    """An optional identifier: a text, or a whole number taken as one; None where it is missing or empty."""
    return _text(message, field, longest)


def _label(message: Object) -> bool | None:
    if "isFraud" in message:
        return read_flag(message, "isFraud")
    if "is_fraud" in message:
        return read_flag(message, "is_fraud")
    return None


def _id(message: Object, field: str, longest: int) -> str:
    value = _text(message, field, longest)
    if value is None:
        raise Rejected("missing_field", f"`{field}` is empty: wanted the user's id")
    return value


def _either(message: Object, field: str, other: str, longest: int) -> str | None:
    return _text(message, field if message.get(field) is not None else other, longest)


def _text(message: Object, field: str, longest: int) -> str | None:
    value = message.get(field)
    if value is None:
        return None
    if type(value) is not str:
        if type(value) is not int:
            raise Rejected("wrong_type", f"`{field}` is {shown(value)}: wanted a text")
        value = str(value)
    if len(value) > longest:
        raise Rejected("id_too_long", f"`{field}` has {len(value)} characters: at most {longest} are taken")
    return value or None


def _number(message: Object, field: str) -> float | None:
    value = message.get(field)
    if type(value) is float and math.isfinite(value):
        return value
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not is_plain(value):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Rejected("wrong_type", f"`{field}` is {shown(value)}: wanted a number") from None
    if not math.isfinite(number):
        reason = "amount_not_finite" if field == "amount" else "wrong_type"
        raise Rejected(reason, f"`{field}` is {shown(value)}: wanted a finite number")
    return number


def _amount(message: Object, limits: Limits) -> float:
    amount = _number(message, "amount")
    if amount is None:
        raise Rejected("missing_field", "`amount` is missing")
    if amount < 0:
        raise Rejected("amount_negative", f"`amount` is {shown(amount)}: wanted 0 or more")
    if amount > limits.max_amount:
        raise Rejected("amount_absurd", f"`amount` is {shown(amount)}: at most {limits.max_amount:g} is taken")
    return amount


def _degrees(message: Object, field: str, most: int) -> float | None:
    value = _number(message, field)
    if value is not None and abs(value) > most:
        raise Rejected("wrong_type", f"`{field}` is {shown(value)}: wanted degrees between -{most} and {most}")
    return value


def _time(message: Object, field: str, arrived_at: int | None, limits: Limits) -> int:
    value = message.get(field)
    if value is None:
        if arrived_at is None:
            raise Rejected("missing_field", f"`{field}` is missing, and there is no broker's timestamp to take instead")
        return arrived_at
    try:
        milliseconds = parse_time(value)
    except (ValueError, OverflowError) as error:
        raise Rejected("time_unreadable", f"`{field}`: {error}") from None
    return _checked(milliseconds, arrived_at, limits)


def _checked(event_time: int, arrived_at: int | None, limits: Limits) -> int:
    if arrived_at is not None and event_time > arrived_at + limits.max_clock_skew:
        ahead, allowed = (event_time - arrived_at) / 1000, limits.max_clock_skew / 1000
        error = f"the time is {ahead:.0f} s ahead of the broker's clock: FRAUD_MAX_CLOCK_SKEW allows {allowed:.0f} s"
        raise Rejected("time_in_future", error)
    return event_time
