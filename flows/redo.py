"""What steps with large state are given, as records of the redo log: see flows/keeping.py.

    a record: MessagePack; for each value of the batch what kind it is, and the value

A kind is never changed, but given another number: records are read by later versions.
"""

from typing import Any, Final

import msgspec

from flows.exchange import Featured, Row, Transactions
from flows.keeping import Record
from flows.logic import LabelJoinLogic
from operators.decisions.decide import DecidedBatch
from operators.features.state import StateError
from operators.model.join import Packed
from operators.transactions.records import Label, Transaction

TRANSACTIONS: Final = 0
LABELS: Final = 1
FEATURED: Final = 3
PACKED: Final = 5


class WindowsRecord(Record[Transactions | Featured | list[Label]]):
    """Of transactions of a key group, alone or with the rows that the windows before made of them, and of labels."""

    def __init__(self, columns: int) -> None:
        """`columns` is the mark of the plan, without which rows are not taken."""
        self._columns = columns

    def pack(self, given: list[Transactions | Featured | list[Label]], buffer: bytearray) -> None:
        """.1 us and about 100 bytes a transaction, and as much for its row."""
        _encode_into([_packed(value) for value in given], buffer, -1)

    def unpack(self, record: memoryview) -> list[Transactions | Featured | list[Label]]:
        """The same again, without what the windows don't depend on."""
        return [self._unpacked(kind, packed) for kind, packed in _parts(record)]

    def _unpacked(self, kind: int, packed: msgspec.Raw) -> Transactions | Featured | list[Label]:
        if kind == TRANSACTIONS:
            return Transactions(_transactions(packed))
        if kind == FEATURED:
            return Featured(*_featured(packed), columns=self._columns)
        return labels_of(kind, packed)


def _packed(value: Transactions | Featured | list[Label]) -> tuple[int, Any]:
    if isinstance(value, Transactions):
        return TRANSACTIONS, value.items
    if isinstance(value, Featured):
        return FEATURED, (value.items, value.rows)
    return LABELS, value


class JoinRecord(Record[DecidedBatch | list[Label]]):
    """Of decided transactions, as the label join keeps them, and of labels."""

    def given(self, logic: LabelJoinLogic, values: list[DecidedBatch | list[Label]]) -> list[Packed | list[Label]]:
        """What is decided as the join keeps it."""
        return logic.packed(values)

    def pack(self, given: list[Packed | list[Label]], buffer: bytearray) -> None:
        """.05 us and about 100 bytes a transaction."""
        parts = [
            (PACKED, (value.identities, value.packed, value.first_name, value.names))
            if isinstance(value, Packed)
            else (LABELS, value)
            for value in given
        ]
        _encode_into(parts, buffer, -1)

    def unpack(self, record: memoryview) -> list[Packed | list[Label]]:
        """The same again."""
        return [_labels(packed) if kind == LABELS else Packed.of(*_decided(packed)) for kind, packed in _parts(record)]

    def take(self, logic: LabelJoinLogic, given: list[Packed | list[Label]]) -> tuple[Any, bool]:
        """Without packing it once more."""
        return logic.take(given)

    def again(self, logic: LabelJoinLogic, given: list[Packed | list[Label]]) -> None:
        """Without telling of it once more."""
        logic.again(given)


def labels_of(kind: int, packed: msgspec.Raw) -> list[Label]:
    """What every step with labels is given. Raises StateError for what this version does not know."""
    if kind != LABELS:
        raise StateError(
            f"the redo log has a record of kind {kind}, which this program does not know; run the version that wrote "
            "it, or give up what is kept with `python -m fraudflow state reset`"
        )
    return _labels(packed)


_encode_into = msgspec.msgpack.Encoder().encode_into
_parts = msgspec.msgpack.Decoder(list[tuple[int, msgspec.Raw]]).decode
_labels = msgspec.msgpack.Decoder(list[Label]).decode
_featured = msgspec.msgpack.Decoder(tuple[list[Transaction], list[Row]]).decode
_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_decided = msgspec.msgpack.Decoder(tuple[list[str], list[bytes], int, list[str]]).decode
