"""What travels between steps: batches. Only a batch that leaves its process is packed, and then as bytes."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec

from operators.features.completion import CompletedLabel
from operators.transactions.records import Transaction

Row = tuple[Any, ...]


class Transactions(msgspec.Struct, frozen=True):
    """Transactions of one key group. Pickled as MessagePack: .3 µs an event where objects would cost 2."""

    items: Sequence[Transaction]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_transactions, (_pack(self.items),)


class Featured(msgspec.Struct, frozen=True):
    """Transactions with their features: a row each. `repeated` others had come before and are left out.

    `marks` has one for each row, or none where there is nothing to tell of any: whether it came too late for complete
    windows, and which of them were not full yet (`operators.features.marks`). `columns` tells by which plan the rows
    were made: processes that began with different rules must not mix theirs.
    """

    items: Sequence[Transaction]
    rows: Sequence[Row]
    marks: Sequence[int] = ()
    repeated: int = 0
    columns: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        kinds = list(dict.fromkeys(self.marks))
        number = {mark: index for index, mark in enumerate(kinds)}
        marks = [number[mark] for mark in self.marks]  # a mark can have more bits than MessagePack's numbers
        packed = (self.items, self.rows, [f"{mark:x}" for mark in kinds], marks, self.repeated, self.columns)
        return _unpack_featured, (_pack(packed),)


class Completed(msgspec.Struct, frozen=True):
    """Labels with what their transaction had."""

    labels: list[CompletedLabel]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_completed, (_pack(self.labels),)


_pack = msgspec.msgpack.Encoder().encode
_read_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_read_featured = msgspec.msgpack.Decoder(tuple[list[Transaction], list[Row], list[str], list[int], int, int]).decode
_read_completed = msgspec.msgpack.Decoder(list[CompletedLabel]).decode


def _unpack_completed(packed: bytes) -> Completed:
    return Completed(_read_completed(packed))


def _unpack_transactions(packed: bytes) -> Transactions:
    return Transactions(_read_transactions(packed))


def _unpack_featured(packed: bytes) -> Featured:
    items, rows, kinds, marks, repeated, columns = _read_featured(packed)
    known = [int(mark, 16) for mark in kinds]
    return Featured(items, rows, [known[index] for index in marks], repeated, columns)


class ColumnsDiffer(RuntimeError):
    """Rows of another plan: a process of the flow began with other rules, or with another model."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this flow keeps other features: it began with other rules or another model. "
            "Give all of them the same files and start all of them again"
        )


def columns_mark(columns: Sequence[str]) -> int:
    """Tells plans apart."""
    return crc32("\n".join(columns).encode())


class Routing:
    """Which key group an id belongs to, and which shard a user does: the same in every process and every run.

    The names hold how many there are, so that state which was divided otherwise is never taken for this division's.
    """

    def __init__(self, key_groups: int, shards: int) -> None:
        self.groups = [f"g{number:04d}/{key_groups}" for number in range(key_groups)]
        self.shards = [f"s{number:03d}/{shards}" for number in range(shards)]
        self._shard_of_group = {group: self.shards[number % shards] for number, group in enumerate(self.groups)}

    def group(self, key: str) -> str:
        """The key group of an id."""
        return self.groups[crc32(key.encode()) % len(self.groups)]

    def shard_of_group(self, group: str) -> str:
        """The shard of a key group of users."""
        return self._shard_of_group[group]

    def shard(self, user_id: str) -> str:
        """The shard of a user: all groups of a shard meet there again."""
        return self.shards[crc32(user_id.encode()) % len(self.groups) % len(self.shards)]


def key_text(key: str | float | None, without: str) -> str:
    """What a key is routed by, the same for equal keys; `without` where there is none."""
    if key is None:
        return without
    return key if isinstance(key, str) else repr(key + 0.0)  # -0.0 is 0.0
