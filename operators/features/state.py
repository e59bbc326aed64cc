"""The format of a key group's state: what is recovered after a restart.

    magic "FWIN" | version, 2 bytes | crc32 of the rest, 4 bytes | length of the header, 4 bytes | header | logs

The header is JSON: the plan's columns and windows, the keys, the texts. The logs follow as they lie in memory, little
endian, one after the other. Heads, and columns that can be made of others, are derived anew where the plan has changed.
"""

import json
import struct
import sys
from array import array
from typing import Any, Final
from zlib import crc32

from operators.features.conversion import Conversion
from operators.features.layout import Layout, Log
from operators.features.logs import Key, Logs

MAGIC: Final = b"FWIN"
VERSION: Final = 1
_PREFIX: Final = struct.Struct("<4sHII")

assert array("I").itemsize == 4, "logs are arrays of 32 and 64 bits"
assert array("q").itemsize == 8, "logs are arrays of 32 and 64 bits"


class StateError(ValueError):
    """A snapshot that can't be used; the text says what to do."""


def encode_state(logs: Logs, late: int) -> bytes:
    """The logs as bytes."""
    layout = logs.layout
    entries = list(logs.all())
    header = {
        "entity": layout.plan.entity,
        "retention": layout.plan.retention,
        "ever": layout.ever,
        "first": layout.first,
        "columns": [str(column) for column in layout.columns],
        "extremes": [list(extreme) for extreme in layout.extreme_slots],
        "windows": [[window.kind, window.length] for window in layout.head_slots],
        "seen_columns": [str(column) for column in layout.seen],
        "late": late,
        "cut": logs.cut,
        "rotate_at": logs.rotate_at,
        "young": len(logs.young),
        "keys": [key for key, _ in entries],
        "lengths": [len(log) for _, log in entries],
        "wide": [number for number, (_, log) in enumerate(entries) if log.typecode == "q"],
        "numbers": list(logs.texts),
        "texts": list(logs.texts.values()),
        "seen": [
            [number, [sorted(values) for values in logs.seen[key]]]
            for number, (key, _) in enumerate(entries)
            if key in logs.seen
        ],
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([head, *(_little(log).tobytes() for _, log in entries)])
    return _PREFIX.pack(MAGIC, VERSION, crc32(body), len(head)) + body


def decode_state(snapshot: bytes, logs: Logs) -> int:
    """Fill empty logs from a snapshot. Returns the count of late events. Raises StateError."""
    header, body = _opened(snapshot, logs.layout)
    layout = logs.layout
    logs.cut = header["cut"]
    if header["rotate_at"] is not None:
        logs.rotate_at = header["rotate_at"] + layout.plan.retention - header["retention"]
    logs.texts = dict(zip(header["numbers"], header["texts"], strict=True))
    logs.ids |= {text: number for number, text in logs.texts.items()}
    logs.count_texts()
    same = all(header[name] == value for name, value in _shape(layout).items())
    convert = (lambda log: log) if same else Conversion(header, logs)
    wide = set(header["wide"])
    position = 0
    keys: list[Key] = header["keys"]
    for number, (key, length) in enumerate(zip(keys, header["lengths"], strict=True)):
        log: Log = array("q" if number in wide else "I")
        size = length * log.itemsize
        log.frombytes(body[position : position + size])
        position += size
        log = _little(log)[:]  # a copy has no slack
        (logs.young if number < header["young"] else logs.old)[key] = convert(log)
    for number, sets in header["seen"]:
        stored = dict(zip(header["seen_columns"], map(set, sets), strict=True))
        logs.seen[keys[number]] = [stored.get(str(column), set()) for column in layout.seen]
    return int(header["late"])


def _opened(snapshot: bytes, layout: Layout) -> tuple[dict[str, Any], memoryview]:
    restart = "start it from an empty recovery directory, or go back to the version that wrote it"
    if len(snapshot) < _PREFIX.size or not snapshot.startswith(MAGIC):
        raise StateError(f"this is no state of windows; {restart}")
    _, version, checksum, length = _PREFIX.unpack_from(snapshot)
    if version != VERSION:
        raise StateError(f"the state of the windows has format {version}, this program reads {VERSION}; {restart}")
    body = memoryview(snapshot)[_PREFIX.size :]
    if crc32(body) != checksum:
        raise StateError(f"the state of the windows is damaged (its checksum is wrong); {restart}")
    header: dict[str, Any] = json.loads(bytes(body[:length]))
    if header["entity"] != layout.plan.entity:
        raise StateError(f"the state is of {header['entity']} windows, not of {layout.plan.entity}; {restart}")
    return header, body[length:]


def _shape(layout: Layout) -> dict[str, Any]:
    """What must be the same for a log to be used as it is."""
    return {
        "ever": layout.ever,
        "columns": [str(column) for column in layout.columns],
        "extremes": [list(extreme) for extreme in layout.extreme_slots],
        "windows": [[window.kind, window.length] for window in layout.head_slots],
    }


def _little(log: Log) -> Log:
    if sys.byteorder == "big":
        log = log[:]
        log.byteswap()
    return log
