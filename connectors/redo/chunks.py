"""The format of the redo log's files: chunks with checksums, each of which knows the one before it of the same key.

    magic "FRDO" | version, 2 bytes | 2 bytes of 0
    for each chunk: crc32 of all that follows in the chunk, 4 bytes | length of the content, 8 | the owner, 8
        | where the owner's chunk before begins in this file, 8 (0: none) | its crc32, 4 | the content

All little endian. Who knows place and checksum of the last chunk can tell whether any before it was changed. A file is
written by one process, in one run, in one epoch, and never opened for writing again.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from connectors.recovery import RecoveryRefused

FOLDER: Final = "state"
"""Inside the recovery directory."""
MAGIC: Final = b"FRDO"
VERSION: Final = 1
_FILE: Final = struct.Struct("<4sHH")
_CHUNK: Final = struct.Struct("<IQQQI")
FILE_HEADER: Final = _FILE.pack(MAGIC, VERSION, 0)
_WHAT_TO_DO: Final = (
    "Put back a copy of the whole recovery directory, or give up what it holds with "
    "`python -m fraudflow state reset`; the flow then begins anew"
)


class StateDamaged(RecoveryRefused):
    """State that can't be read back: the message names the file, what is wrong with it, and what to do."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"{path} {what}. {_WHAT_TO_DO}")


class Place(NamedTuple):
    """The last of an owner's chunks in one file: where it begins, its checksum, and how many bytes all of them have."""

    file: str
    offset: int
    checksum: int
    size: int


def chunk_header(owner: int, content: bytes | bytearray, before: Place | None) -> tuple[bytes, int]:
    """What stands before the content, and the chunk's checksum."""
    previous = (before.offset, before.checksum) if before else (0, 0)
    header = _CHUNK.pack(0, len(content), owner, *previous)[4:]
    checksum = crc32(content, crc32(header))
    return checksum.to_bytes(4, "little") + header, checksum


def read_chunks(directory: Path, owner: int, place: Place, known: set[tuple[str, int]] | None = None) -> list[bytes]:
    """The contents of an owner's chunks in one file, the oldest first. Raises StateDamaged.

    With `known`, the places of chunks that were read before: it stops at one of them, and adds those it has read.
    """
    path = directory / place.file
    contents = []
    try:
        with path.open("rb", buffering=0) as file:
            _check_file(path, file.read(_FILE.size))
            for offset, content in _backwards(path, file.fileno(), owner, place):
                contents.append(content)
                if known is not None:
                    if (place.file, offset) in known:
                        break
                    known.add((place.file, offset))
    except FileNotFoundError:
        raise StateDamaged(path, "is missing, though the state is made of it") from None
    except OSError as error:
        raise StateDamaged(path, f"can't be read: {error.strerror or error}") from error
    return contents[::-1]


def _check_file(path: Path, header: bytes) -> None:
    if len(header) < _FILE.size or not header.startswith(MAGIC):
        raise StateDamaged(path, "is no file of the redo log, or was cut off")
    _, version, _ = _FILE.unpack(header)
    if version != VERSION:
        raise StateDamaged(path, f"has format {version}, this program reads {VERSION}; run the version that wrote it")


def _backwards(path: Path, file: int, owner: int, place: Place) -> Iterator[tuple[int, bytes]]:
    offset, expected = place.offset, place.checksum
    while offset:
        header = os.pread(file, _CHUNK.size, offset)
        if len(header) < _CHUNK.size:
            raise StateDamaged(path, f"was cut off: it ends before byte {offset + _CHUNK.size}")
        checksum, length, written_by, before, checksum_before = _CHUNK.unpack(header)
        if checksum != expected or written_by != owner:
            raise StateDamaged(path, f"is damaged: at byte {offset} there is not what was written there")
        content = _pread_all(file, length, offset + _CHUNK.size, os.fstat(file).st_size)
        if content is None:
            raise StateDamaged(path, f"was cut off: it ends before byte {offset + _CHUNK.size + length}")
        if crc32(content, crc32(header[4:])) != checksum:
            raise StateDamaged(path, f"is damaged: the checksum of the {length} bytes from byte {offset} is wrong")
        yield offset, content
        offset, expected = before, checksum_before


def _pread_all(file: int, length: int, offset: int, end: int) -> bytes | None:
    """One call reads 2 GB at most."""
    if offset + length > end:
        return None
    content = os.pread(file, length, offset)
    while len(content) < length:
        more = os.pread(file, length - len(content), offset + len(content))
        if not more:
            return None
        content += more
    return content
