"""Messages that can't be used, one kind for every reason that the dead-letter topic knows."""

from collections.abc import Callable
from typing import Any

import orjson

Message = dict[str, Any]


def _changed(**changes: Any) -> Callable[[Message], bytes]:
    def broken(message: Message) -> bytes:
        return orjson.dumps({**message, **changes})

    return broken


def _amount(text: bytes) -> Callable[[Message], bytes]:
    """An amount that JSON libraries write but JSON does not have, or has only as a text."""

    def broken(message: Message) -> bytes:
        return orjson.dumps({**message, "amount": "\0"}).replace(b'"\\u0000"', text)

    return broken


def _without_amount(message: Message) -> bytes:
    return orjson.dumps({field: value for field, value in message.items() if field != "amount"})


def _anonymous(message: Message) -> bytes:
    users = ("customer_id", "userId", "nameOrig")
    return orjson.dumps({field: value for field, value in message.items() if field not in users})


def _late_century(message: Message) -> bytes:
    when = {"step": 900_000} if "step" in message else {"timestamp": "2099-01-01T00:00:00Z"}
    return orjson.dumps({**message, **when})


def _timeless(message: Message) -> bytes:
    when = {"step": -4} if "step" in message else {"timestamp": "yesterday"}
    return orjson.dumps({**message, **when})


def _long_id(message: Message) -> bytes:
    field = next(field for field in ("customer_id", "userId", "nameOrig") if field in message)
    return orjson.dumps({**message, field: "x" * 600})


KINDS: tuple[tuple[str, Callable[[Message], bytes]], ...] = (
    ("not_json", lambda message: orjson.dumps(message)[:-9]),
    ("not_an_object", lambda message: orjson.dumps([message])),
    ("unknown_format", _anonymous),
    ("missing_field", _without_amount),
    ("wrong_type", _changed(amount=[12, 50])),
    ("amount_not_finite", _amount(b'"NaN"')),
    ("amount_negative", _changed(amount=-12.5)),
    ("amount_absurd", _changed(amount=1e15)),
    ("time_unreadable", _timeless),
    ("time_in_future", _late_century),
    ("id_too_long", _long_id),
)
"""The reason, and what makes a good message into such a one."""


def oversized(message: Message, size: int) -> bytes:
    """A message longer than `size` bytes, for the last reason: `message_too_large`."""
    return orjson.dumps({**message, "note": "x" * size})
