"""What steps with large state are given, as records of the redo log: see flows/keeping.py.

    a record: MessagePack; for each value of the batch what kind it is, and the value

A kind is never changed, but given another number: records are read by later versions.
"""

from typing import Any, Final

import msgspec

from flows.exchange import Featured, Row, Transactions
from operators.decisions.decide import DecidedBatch
from operators.transactions.records import Label, Transaction

TRANSACTIONS: Final = 0
LABELS: Final = 1
DECIDED: Final = 2
FEATURED: Final = 3


class WindowsRecord:
    """Of transactions of a key group, alone or with the rows that the windows before made of them, and of labels."""

    def __init__(self, columns: int) -> None:
        """`columns` is the mark of the plan, without which rows are not taken."""
        self._columns = columns

    def pack(self, values: list[Transactions | Featured | list[Label]], buffer: bytearray) -> None:
        """.1 us and about 100 bytes a transaction, and as much for its row."""
        _encode_into([_packed(value) for value in values], buffer, -1)

    def unpack(self, record: memoryview) -> list[Transactions | Featured | list[Label]]:
        """The same again, without what the windows don't depend on."""
        return [self._unpacked(kind, packed) for kind, packed in _parts(record)]

    def _unpacked(self, kind: int, packed: msgspec.Raw) -> Transactions | Featured | list[Label]:
        if kind == TRANSACTIONS:
            return Transactions(_transactions(packed))
        if kind == FEATURED:
            return Featured(*_featured(packed), columns=self._columns)
        return _labels(packed)


def _packed(value: Transactions | Featured | list[Label]) -> tuple[int, Any]:
    if isinstance(value, Transactions):
        return TRANSACTIONS, value.items
    if isinstance(value, Featured):
        return FEATURED, (value.items, value.rows)
    return LABELS, value


class JoinRecord:
    """Of what was decided, as the label join takes it, and of labels."""

    def pack(self, values: list[DecidedBatch | list[Label]], buffer: bytearray) -> None:
        """.25 us and about 400 bytes a transaction."""
        _encode_into([self._packed(value) for value in values], buffer, -1)

    def unpack(self, record: memoryview) -> list[DecidedBatch | list[Label]]:
        """Batches whose transactions have an id, a time and an amount, and lists of labels."""
        return [
            _labels(packed) if kind == LABELS else self._decided(*_decided(packed)) for kind, packed in _parts(record)
        ]

    def _packed(self, value: DecidedBatch | list[Label]) -> tuple[int, Any]:
        if not isinstance(value, DecidedBatch):
            return LABELS, value
        of = [(t.transaction_id, t.event_time, t.amount) for t in value.transactions]
        return DECIDED, (of, value.inputs, value.scores)

    def _decided(self, of: list[Any], inputs: list[dict[str, float]], scores: list[float | None]) -> DecidedBatch:
        transactions = [Transaction("", identity, event_time, "", amount) for identity, event_time, amount in of]
        return DecidedBatch(transactions, inputs, scores, [], {}, 0)


_encode_into = msgspec.msgpack.Encoder().encode_into
_parts = msgspec.msgpack.Decoder(list[tuple[int, msgspec.Raw]]).decode
_labels = msgspec.msgpack.Decoder(list[Label]).decode
_featured = msgspec.msgpack.Decoder(tuple[list[Transaction], list[Row]]).decode
_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_decided = msgspec.msgpack.Decoder(
    tuple[list[tuple[str, int, float]], list[dict[str, float]], list[float | None]]
).decode
