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
    """Transactions with their features: a row each. `late` of them came too late for complete windows."""

    items: Sequence[Transaction]
    rows: Sequence[Row]
    late: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_featured, (_pack((self.items, self.rows, self.late)),)


_pack = msgspec.msgpack.Encoder().encode
_read_transactions = msgspec.msgpack.Decoder(list[Transaction]).decode
_read_featured = msgspec.msgpack.Decoder(tuple[list[Transaction], list[Row], int]).decode


def _unpack_transactions(packed: bytes) -> Transactions:
    return Transactions(_read_transactions(packed))


def _unpack_featured(packed: bytes) -> Featured:
    return Featured(*_read_featured(packed))


class Routing:
    """Which key group an id belongs to, and which shard a user does: the same in every process and every run."""

    def __init__(self, key_groups: int, shards: int) -> None:
        self.groups = [f"g{number:04d}" for number in range(key_groups)]
        self.shards = [f"s{number:03d}" for number in range(shards)]

    def group(self, key: str) -> str:
        """The key group of an id."""
        return self.groups[crc32(key.encode()) % len(self.groups)]

    def shard(self, user_id: str) -> str:
        """The shard of a user: all groups of a shard meet there again."""
        return self.shards[crc32(user_id.encode()) % len(self.groups) % len(self.shards)]
