"""What travels between steps: batches. Only a batch that leaves its process is packed, and then as bytes."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec

from operators.transactions.records import Transaction

Row = tuple[Any, ...]


class Transactions(msgspec.Struct, frozen=True):
    """Transactions of one key group. Pickled as MessagePack: .3 µs an event where objects would cost 2."""

    items: Sequence[Transaction]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_transactions, (_pack(self.items),)


class Featured(msgspec.Struct, frozen=True):
    """Transactions with their features: a row each. `late` of them came too late for complete windows; `repeated`
    others had come before and are left out.

    `columns` tells by which plan the rows were made: processes that began with different rules must not mix theirs.
    """

    items: Sequence[Transaction]
    rows: Sequence[Row]
    late: int = 0
    repeated: int = 0
    columns: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_featured, (_pack((self.items, self.rows, self.late, self.repeated, self.columns)),)


_pack = msgspec.msgpack.Encoder().encode
_read_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_read_featured = msgspec.msgpack.Decoder(tuple[list[Transaction], list[Row], int, int, int]).decode


def _unpack_transactions(packed: bytes) -> Transactions:
    return Transactions(_read_transactions(packed))


def _unpack_featured(packed: bytes) -> Featured:
    return Featured(*_read_featured(packed))


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

    def group(self, key: str) -> str:
        """The key group of an id."""
        return self.groups[crc32(key.encode()) % len(self.groups)]

    def shard(self, user_id: str) -> str:
        """The shard of a user: all groups of a shard meet there again."""
        return self.shards[crc32(user_id.encode()) % len(self.groups) % len(self.shards)]
