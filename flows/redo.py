"""What steps with large state are given, as records of the redo log: see flows/keeping.py.

    a record: MessagePack; for each value of the batch what kind it is, and the value

A kind is never changed, but given another number: records are read by later versions.
"""

from typing import Any, Final

import msgspec

from flows.exchange import Completed, Featured, Row, Transactions
from flows.keeping import Record
from flows.logic import LabelJoinLogic
from operators.decisions.decide import DecidedBatch
from operators.features.completion import CompletedLabel
from operators.features.plan import EntityPlan
from operators.features.state import StateError
from operators.model.join import Packed
from operators.transactions.records import Label, Transaction

TRANSACTIONS: Final = 0
LABELS: Final = 1
FEATURED: Final = 3
COMPLETED: Final = 4
PACKED: Final = 5
WITH_COLUMNS: Final = 6

Given = Transactions | Featured | Completed | list[Label]


class WindowsRecord(Record[Given]):
    """Of transactions of a key group, with those columns of the rows so far that the windows need, and of labels.

    The columns are named: a plan that changes takes those that it still has, and finds others missing.
    """

    def __init__(self, columns: int, plan: EntityPlan) -> None:
        """`columns` is the mark of the whole plan, without which rows are not taken."""
        self._columns = columns
        self._width = len(plan.given)
        self._places = {name: place for place, name in enumerate(plan.given) if name in plan.reads}

    def pack(self, given: list[Given], buffer: bytearray) -> None:
        """.1 us and about 100 bytes a transaction."""
        _encode_into([self._packed(value) for value in given], buffer, -1)

    def unpack(self, record: memoryview) -> list[Given]:
        """The same again, without what the windows don't depend on."""
        return [self._unpacked(kind, packed) for kind, packed in _parts(record)]

    def _packed(self, value: Given) -> tuple[int, Any]:
        if isinstance(value, Transactions):
            return TRANSACTIONS, value.items
        if isinstance(value, Featured):
            columns = [[row[place] for row in value.rows] for place in self._places.values()]
            return WITH_COLUMNS, (value.items, list(self._places), columns)
        if isinstance(value, Completed):
            return COMPLETED, value.labels
        return LABELS, value

    def _unpacked(self, kind: int, packed: msgspec.Raw) -> Given:
        if kind == TRANSACTIONS:
            return Transactions(_transactions(packed))
        if kind == WITH_COLUMNS:
            return self._featured(*_with_columns(packed))
        if kind == FEATURED:  # of a version whose windows needed no rows
            return self._featured(_featured(packed)[0], [], [])
        return Completed(_completed(packed)) if kind == COMPLETED else labels_of(kind, packed)

    def _featured(self, items: list[Transaction], names: list[str], columns: list[list[Any]]) -> Featured:
        rows: list[list[Any]] = [[None] * self._width for _ in items]
        for name, column in zip(names, columns, strict=True):
            if name in self._places:
                for row, value in zip(rows, column, strict=True):
                    row[self._places[name]] = value
        return Featured(items, [tuple(row) for row in rows], columns=self._columns)


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
_with_columns = msgspec.msgpack.Decoder(tuple[list[Transaction], list[str], list[list[Any]]]).decode
_completed = msgspec.msgpack.Decoder(list[CompletedLabel]).decode
_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_decided = msgspec.msgpack.Decoder(tuple[list[str], list[bytes], int, list[str]]).decode
