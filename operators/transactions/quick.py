"""The short way to a transaction, for messages as they should be: decoded and checked in one go.

It takes only what `formats.py` would take with the same result, and leaves all else to it: another type for a field,
a field that no format has, an empty text, whatever is to be refused.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from operators.times import parse_time
from operators.transactions.formats import HOUR, Limits
from operators.transactions.records import Transaction

MOST_MINUTES: Final = 4096
_TAILS: Final = {
    f"{second:02d}{fraction}Z": 1000 * second + milliseconds
    for second in range(60)
    for fraction, milliseconds in [("", 0), *((f".{thousandth:03d}", thousandth) for thousandth in range(1000))]
}
"""What follows the minute in the two usual ways to write a time, in milliseconds."""


class QuickReader:
    """Reads messages by the batch. Keeps only caches: the same bytes always give the same transaction."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        text = Annotated[str, Meta(min_length=1, max_length=limits.max_id_length)]
        amount = Annotated[float, Meta(ge=0, le=limits.max_amount)]
        names = {"userId": "simple", "customer_id": "card", "customerId": "card", "user_id": "card"}
        self._decoders: list[tuple[bytes, str, Callable[[bytes], Any]]] = [
            (b'"nameOrig"', "paysim", msgspec.json.Decoder(_paysim(text, amount)).decode)
        ]
        for name, kind in names.items():
            decoder = msgspec.json.Decoder(_simple(name, text, amount))
            self._decoders.append((f'"{name}"'.encode(), kind, decoder.decode))
        _, self._format, self._decode = self._decoders[0]
        self._minutes: dict[str, int] = {}

    def read(
        self, values: Iterable[bytes | None], timestamps: Iterable[int], offsets: Iterable[int], source: str
    ) -> tuple[list[Transaction | None], dict[int, bool]]:
        """A transaction for each message, or None for one that is to be looked at more closely; the labels by index."""
        most_bytes, skew = self._limits.max_message_bytes, self._limits.max_clock_skew
        minute_of, tail_of = self._minutes.get, _TAILS.get
        decode, kind = self._decode, self._format
        transactions: list[Transaction | None] = []
        append = transactions.append
        labels: dict[int, bool] = {}
        for value, timestamp, offset in zip(values, timestamps, offsets, strict=True):
            if value is None or len(value) > most_bytes:
                append(None)
                continue
            try:
                m = decode(value)
            except (msgspec.DecodeError, ValueError):
                m = self._other_format(value)
                if m is None:
                    append(None)
                    continue
                decode, kind = self._decode, self._format
            if kind == "paysim":
                transaction = self._paysim_of(m, timestamp, source, offset)
                append(transaction)
                if m.isFraud is not None and transaction is not None:
                    labels[len(transactions) - 1] = m.isFraud == 1
                continue
            time = m.timestamp
            minute, tail = minute_of(time[:17]), tail_of(time[17:])
            event_time = self._time(time) if minute is None or tail is None else minute + tail
            if event_time is None or event_time > timestamp + skew:
                append(None)
                continue
            if m.is_fraud is not None:
                labels[len(transactions)] = m.is_fraud
            append(
                Transaction(
                    kind,
                    m.transaction_id or m.transactionId or f"{source}-{offset}",
                    event_time,
                    m.user,
                    m.amount,
                    m.currency,
                    m.type,
                    m.merchant or m.merchant_id,
                    m.receiver or m.receiver_id,
                    m.category,
                    m.country,
                    m.location,
                    m.latitude,
                    m.longitude,
                    None,
                    None,
                    timestamp,
                )
            )
        return transactions, labels

    def _paysim_of(self, m: Any, timestamp: int, source: str, offset: int) -> Transaction | None:
        event_time = self._limits.paysim_start + m.step * HOUR
        if event_time > timestamp + self._limits.max_clock_skew:
            return None
        receiver = m.nameDest
        return Transaction(
            "paysim",
            m.transaction_id or m.transactionId or f"{source}-{offset}",
            event_time,
            m.nameOrig,
            m.amount,
            m.currency,
            m.type,
            receiver if receiver is not None and receiver[0] == "M" else None,
            receiver,
            old_balance=m.oldbalanceOrg,
            receiver_old_balance=m.oldbalanceDest,
            arrived_at=timestamp,
        )

    def _other_format(self, value: bytes) -> Any:
        """The message by the decoder of its own format, to be tried first from now on; None where that fails, too."""
        for mark, kind, decode in self._decoders:
            if mark in value and decode is not self._decode:
                try:
                    m = decode(value)
                except (msgspec.DecodeError, ValueError):
                    return None
                self._format, self._decode = kind, decode
                return m
        return None

    def _time(self, text: str) -> int | None:
        try:
            event_time = parse_time(text)
        except (ValueError, OverflowError):
            return None
        tail = _TAILS.get(text[17:])
        if tail is not None and text[16] == ":":  # so that what follows is the seconds
            if len(self._minutes) >= MOST_MINUTES:
                self._minutes.clear()
            self._minutes[text[:17]] = event_time - tail
        return event_time


def _simple(user: str, text: Any, amount: Any) -> type[msgspec.Struct]:
    """The message of the `simple` and `card` formats, the user's id in the field `user`."""
    optional = [
        "transaction_id", "transactionId", "currency", "type", "merchant", "merchant_id", "receiver", "receiver_id",
        "category", "country", "location",
    ]  # fmt: skip
    fields: list[Any] = [
        ("user", text),
        ("amount", amount),
        ("timestamp", str),
        *((name, text | None, None) for name in optional),
        ("latitude", Annotated[float, Meta(ge=-90, le=90)] | None, None),
        ("longitude", Annotated[float, Meta(ge=-180, le=180)] | None, None),
        ("is_fraud", bool | None, None),
    ]
    return msgspec.defstruct("Simple", fields, rename={"user": user}, forbid_unknown_fields=True, gc=False)


def _paysim(text: Any, amount: Any) -> type[msgspec.Struct]:
    """The message of the `paysim` format."""
    fields: list[Any] = [
        ("nameOrig", text),
        ("amount", amount),
        ("step", Annotated[int, Meta(ge=0, le=1_000_000)]),
        *((name, text | None, None) for name in ("transaction_id", "transactionId", "currency", "type", "nameDest")),
        *(
            (name, float | None, None)
            for name in ("oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest")
        ),
        ("isFraud", Annotated[int, Meta(ge=0, le=1)] | None, None),
        ("isFlaggedFraud", Annotated[int, Meta(ge=0, le=1)] | None, None),
    ]
    return msgspec.defstruct("PaySim", fields, forbid_unknown_fields=True, gc=False)
