"""The short way to a transaction, for messages as they should be: decoded and checked in one go.

It takes only what `formats.py` would take with the same result, and leaves all else to it: another type for a field,
a field that no format has, an empty text, whatever is to be refused.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from operators.times import parse_time
from operators.transactions.formats import HOUR, Limits
from operators.transactions.records import Transaction

MOST_TIMES: Final = 4096
NEVER: Final = 1 << 62
_SECONDS: Final = {f"{second:02d}": 1000 * second for second in range(60)}
_FRACTIONS: Final = {"Z": 0, **{f".{thousandth:03d}Z": thousandth for thousandth in range(1000)}}
"""What follows the second in the two usual ways to write a time, in milliseconds. One table of all that can follow the
minute has 60,060 texts, and a look-up in it is a cache miss: .4 us a message where these small ones take .14."""


class Read(NamedTuple):
    """A transaction for each message of a batch, or None for one that is `skipped`: it is to be looked at more closely.

    Labels and skipped ones by index.
    """

    transactions: list[Transaction | None]
    labels: dict[int, bool]
    skipped: list[int]


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
        self._seconds: dict[str, int] = {}

    def read(
        self, values: Sequence[bytes | None], timestamps: Iterable[int], offsets: Iterable[int], source: str
    ) -> Read:
        """The messages of one batch, column by column; a message without an id gets `source` and its offset for one."""
        skew = self._limits.max_clock_skew
        seconds, fractions = self._seconds, _FRACTIONS
        decode, kind = self._decode, self._format
        transactions: list[Transaction | None] = []
        append = transactions.append
        labels: dict[int, bool] = {}
        skipped: list[int] = []
        second, begin = "", NEVER
        for value, timestamp, offset in zip(self._readable(values), timestamps, offsets, strict=True):
            try:
                m = decode(value)
            except (msgspec.DecodeError, ValueError):
                m = self._other_format(value)
                if m is None:
                    skipped.append(len(transactions))
                    append(None)
                    continue
                decode, kind = self._decode, self._format
            if kind == "paysim":
                transaction = self._paysim_of(m, timestamp, source, offset)
                if transaction is None:
                    skipped.append(len(transactions))
                elif m.isFraud is not None:
                    labels[len(transactions)] = m.isFraud == 1
                append(transaction)
                continue
            time = m.timestamp
            if time[:19] != second:  # most often the same: a look-up saved is a twentieth of decoding
                second = time[:19]
                begin = seconds.get(second, NEVER)
            event_time = begin + fractions.get(time[19:], NEVER)
            if event_time >= NEVER:
                event_time, second = self._time(time), ""
            if event_time > timestamp + skew:
                skipped.append(len(transactions))
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
        return Read(transactions, labels, skipped)

    def _readable(self, values: Sequence[bytes | None]) -> Sequence[bytes]:
        """The values, with nothing in the place of those that are missing or too long."""
        most_bytes = self._limits.max_message_bytes
        try:
            if max(map(len, values), default=0) <= most_bytes:  # type: ignore[arg-type]
                return values  # type: ignore[return-value]
        except TypeError:  # a message without a value
            pass
        return [value if value is not None and len(value) <= most_bytes else b"" for value in values]

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

    def _time(self, text: str) -> int:
        """The time of a text whose second is a new one; NEVER where the text is none."""
        fraction = _FRACTIONS.get(text[19:])
        if fraction is None or text[16] != ":":  # else what stands between them is the second
            return _parsed(text)
        minute, second = self._minutes.get(text[:17]), _SECONDS.get(text[17:19])
        if minute is None or second is None:
            event_time = _parsed(text)
            if second is None or event_time == NEVER:
                return event_time
            if len(self._minutes) >= MOST_TIMES:
                self._minutes.clear()
            minute = self._minutes[text[:17]] = event_time - second - fraction
        if len(self._seconds) >= MOST_TIMES:
            self._seconds.clear()
        self._seconds[text[:19]] = minute + second
        return minute + second + fraction


def _parsed(text: str) -> int:
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        return NEVER


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
