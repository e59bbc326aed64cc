"""What the engine keeps of a key: where its state lies in the files.

magic "FMAN" | version, 2 bytes | crc32 of what follows, 4 bytes | MessagePack: owner, base, redo
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from connectors.redo.chunks import Place, StateDamaged, read_chunks

MAGIC: Final = b"FMAN"
VERSION: Final = 1
_PREFIX: Final = struct.Struct("<4sHI")
_LENGTH: Final = struct.Struct("<I")


class Manifest(NamedTuple):
    """A key's state: `base`, and what the key was given since, in the order of `redo`. `owner` is whose chunks."""

    owner: int
    base: Place | None
    redo: list[Place]

    @property
    def places(self) -> list[Place]:
        """All that it names."""
        return [self.base, *self.redo] if self.base else self.redo

    @property
    def size(self) -> int:
        """The bytes of state in the files."""
        return sum(place.size for place in self.places)

    def encode(self) -> bytes:
        """As the engine keeps it."""
        content = _encode(self)
        return _PREFIX.pack(MAGIC, VERSION, crc32(content)) + content

    @classmethod
    def decode(cls, encoded: bytes, where: str) -> "Manifest":
        """Of what `encode` gave; `where` names it in an error. Raises StateDamaged."""
        if len(encoded) < _PREFIX.size or not is_manifest(encoded):
            raise StateDamaged(where, "is no manifest of state")
        _, version, checksum = _PREFIX.unpack_from(encoded)
        content = encoded[_PREFIX.size :]
        if version != VERSION:
            what = f"has a manifest of format {version}, this program reads {VERSION}; run the version that wrote it"
            raise StateDamaged(where, what)
        if crc32(content) != checksum:
            raise StateDamaged(where, "has a damaged manifest: its checksum is wrong")
        return _decode(content)

    def read_base(self, directory: Path) -> bytes | None:
        """The whole state as it once was; None where the redo log begins at the beginning. Raises StateDamaged."""
        return b"".join(read_chunks(directory, self.owner, self.base)) if self.base else None

    def read_redo(self, directory: Path) -> Iterator[memoryview]:
        """What the key was given since, record by record. Raises StateDamaged."""
        for place in self.redo:
            for content in read_chunks(directory, self.owner, place):
                yield from records(content)

    def verify(self, directory: Path, known: set[tuple[str, int]]) -> None:
        """Read all of it but what is `known` by now, and check the checksums. Raises StateDamaged."""
        for place in self.places:
            read_chunks(directory, self.owner, place, known)


def is_manifest(state: bytes) -> bool:
    """Or else a whole state, as versions before the redo log kept it."""
    return state.startswith(MAGIC)


def begin_record(buffer: bytearray) -> int:
    """Room for a record's length; the record is then written behind it, and `end_record` told what this returned."""
    start = len(buffer)
    buffer += bytes(_LENGTH.size)
    return start


def end_record(buffer: bytearray, start: int) -> None:
    """The record is in the buffer."""
    _LENGTH.pack_into(buffer, start, len(buffer) - start - _LENGTH.size)


def records(content: bytes) -> Iterator[memoryview]:
    """The records of a chunk."""
    view, start = memoryview(content), 0
    while start < len(content):
        (length,) = _LENGTH.unpack_from(view, start)
        start += _LENGTH.size
        yield view[start : start + length]
        start += length


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Manifest).decode
