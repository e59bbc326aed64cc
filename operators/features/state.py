"""The format of a key group's state: what is recovered after a restart.

    magic "FWIN" | version, 2 bytes | crc32 of all after the prefix, 4 bytes | length of the header, 4 bytes
    header: JSON; the plan's columns and windows, the keys, the texts
    lengths of the logs, 4 bytes each | the logs as they lie in memory | the labels of each key: times, counts of fraud
    what is remembered of transactions to complete labels by

All little endian. Where the plan has changed a log is made into one of the new plan.
"""

import re
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import accumulate, pairwise
from operator import attrgetter, itemgetter
from typing import Any, Final, cast
from zlib import crc32

import orjson

from operators.features.conversion import Conversion
from operators.features.labels import Key, LabelLog
from operators.features.layout import Layout, Log
from operators.features.logs import LONG_LOG, Logs
from operators.features.names import Window
from operators.features.pages import Pages

MAGIC: Final = b"FWIN"
VERSION: Final = 4
OLDEST: Final = 3
"""What is read too: 3 knew no derived fields."""
_PREFIX: Final = struct.Struct("<4sHII")

_BIG: Final = sys.byteorder == "big"
_KIND: Final = attrgetter("typecode")

assert array("I").itemsize == 4, "logs are arrays of 32 and 64 bits"
assert array("q").itemsize == 8, "logs are arrays of 32 and 64 bits"


class StateError(ValueError):
    """A snapshot that can't be used; the text says what to do."""


@contextmanager
def restoring(kind: str) -> Iterator[None]:
    """What goes wrong in the block is a StateError: whatever is in damaged bytes, the message says whose they are."""
    try:
        yield
    except StateError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError) as error:
        raise StateError(
            f"the stored state of {kind} is damaged ({type(error).__name__}: {error}): go back to a copy of the "
            "recovery directory, or start with an empty one"
        ) from error


def encode_state(logs: Logs, late: int, memory: bytes = b"") -> bytes:
    """The logs as bytes, and what else is remembered behind them."""
    layout = logs.layout
    keys, held = [*logs.young, *logs.old], [*logs.young.values(), *logs.old.values()]
    kinds = "".join(map(_KIND, held))
    wide = [found.start() for found in re.finditer("q", kinds)]
    for number in wide:
        if isinstance(log := held[number], Pages):
            held[number] = log.flat()
    entries = cast(list["array[int]"], held)
    texts = sorted(logs.texts.items(), key=itemgetter(1))
    header = {
        "entity": layout.plan.name,
        "retention": layout.plan.retention,
        "first": layout.first,
        **_shape(layout),
        "seen_columns": [str(column) for column in layout.seen],
        "late": late,
        "cut": logs.cut,
        "base": logs.base,
        "doubt": logs.doubt,
        "unsure": sorted(logs.unsure),
        "rotate_at": logs.rotate_at,
        "since": logs.since,
        "started": logs.started,
        "kept": layout.plan.span + layout.plan.allowed_lateness,
        "newest": logs.newest,
        "labels_kept": {field or "": labels.kept_time for field, labels in logs.labels.items()},
        "labelled": {
            field or "": [[key, len(log.times), log.dropped] for key, log in labels.logs.items()]
            for field, labels in logs.labels.items()
        },
        "features": [feature.name for feature in layout.plan.features],
        "fields": _definitions(layout),
        "memory": len(memory),
        "young": len(logs.young),
        "keys": keys,
        "wide": wide,
        "numbers": [number for _, number in texts],
        "texts": [text for text, _ in texts],
        "seen": [
            [number, [sorted(values) for values in logs.seen[key]]]
            for number, key in enumerate(keys if logs.seen else ())
            if key in logs.seen
        ],
    }
    head = orjson.dumps(header)
    lengths = array("I", map(len, entries))
    labels = [
        part for labels in logs.labels.values() for log in labels.logs.values() for part in (log.times, log.frauds)
    ]
    if _BIG:
        lengths, entries, labels = _swapped(lengths), list(map(_swapped, entries)), list(map(_swapped, labels))
    state = BytesIO()  # written in place: a copy of a large state costs as much as all the rest
    state.write(bytes(_PREFIX.size))
    state.writelines([head, lengths, *entries, *labels, memory])
    with state.getbuffer() as written:
        _PREFIX.pack_into(written, 0, MAGIC, VERSION, crc32(written[_PREFIX.size :]), len(head))
    return state.getvalue()


def decode_state(snapshot: bytes, logs: Logs) -> tuple[int, bytes]:
    """Fill empty logs from a snapshot. Returns the count of late events, and what else was remembered. Raises
    StateError."""
    with restoring("the windows"):
        return _decode(snapshot, logs)


def _decode(snapshot: bytes, logs: Logs) -> tuple[int, bytes]:
    header, body = _opened(snapshot, logs.layout)
    layout = logs.layout
    logs.cut, logs.base, logs.doubt = header["cut"], header["base"], header["doubt"]
    logs.unsure = set(header["unsure"])
    logs.newest = header["newest"]
    logs.since = header["since"]
    if header["rotate_at"] is not None:
        logs.rotate_at = header["rotate_at"] + layout.plan.retention - header["retention"]
    logs.texts.restore(header["numbers"], header["texts"])
    same = all(header[name] == value for name, value in _shape(layout).items())
    keys: list[Key] = header["keys"]
    lengths = array("I", body[: 4 * len(keys)])
    if _BIG:
        lengths = _swapped(lengths)
    kinds = ["I"] * len(keys)
    for number in header["wide"]:
        kinds[number] = "q"
        lengths[number] *= 2
    ends = list(accumulate((4 * length for length in lengths), initial=4 * len(keys)))
    entries = [array(kind, body[start:end]) for kind, (start, end) in zip(kinds, pairwise(ends), strict=True)]
    if _BIG:
        entries = [_swapped(log) for log in entries]
    conversion = Conversion(header, logs)
    if not same:
        entries = [conversion(log) for log in entries]
    definitions = _definitions(layout)
    changed = {field for field, value in header["fields"].items() if definitions.get(field, value) != value}
    if not same or changed:
        newest = max((log[-layout.size] for log in entries), default=0) + logs.base
        logs.started = conversion.started(newest, changed)
    else:
        logs.started = header["started"]
    memory = len(body) - header["memory"]
    _restore_labels(header["labelled"], body[ends[-1] : memory], logs)
    restored: list[Log] = [*entries]
    for number in header["wide"]:
        if len(entries[number]) > LONG_LOG:
            restored[number] = Pages(entries[number], layout.first)
    young = header["young"]
    logs.young.update(zip(keys[:young], restored[:young], strict=True))
    logs.old.update(zip(keys[young:], restored[young:], strict=True))
    for number, sets in header["seen"]:
        stored = dict(zip(header["seen_columns"], map(set, sets), strict=True))
        logs.seen[keys[number]] = [stored.get(str(column), set()) for column in layout.seen]
    return int(header["late"]), body[memory:]


def _restore_labels(labelled: dict[str, list[tuple[Key, int, int]]], body: bytes, logs: Logs) -> None:
    end = 0
    for field, known in labelled.items():
        labels = logs.labels.get(field or None)
        for key, count, dropped in known:
            start, end = end, end + 8 * (2 * count + 1)
            if labels is None:  # no feature asks for them any more
                continue
            both = array("q", body[start:end])
            if _BIG:
                both = _swapped(both)
            labels.logs[key] = LabelLog(both[:count], both[count:], dropped)


def _opened(snapshot: bytes, layout: Layout) -> tuple[dict[str, Any], bytes]:
    restart = "start it from an empty recovery directory, or go back to the version that wrote it"
    if len(snapshot) < _PREFIX.size or not snapshot.startswith(MAGIC):
        raise StateError(f"this is no state of windows; {restart}")
    _, version, checksum, length = _PREFIX.unpack_from(snapshot)
    if not OLDEST <= version <= VERSION:
        raise StateError(f"the state of the windows has format {version}, this program reads {VERSION}; {restart}")
    body = memoryview(snapshot)[_PREFIX.size :]
    if crc32(body) != checksum:
        raise StateError(f"the state of the windows is damaged (its checksum is wrong); {restart}")
    header: dict[str, Any] = orjson.loads(body[:length])
    if header["entity"] != layout.plan.name:
        raise StateError(f"the state is of {header['entity']} windows, not of {layout.plan.name}; {restart}")
    if version == OLDEST:
        kept = {} if header["labels_kept"] is None else {"": header["labels_kept"]}
        header |= {"labels_kept": kept, "labelled": {"": header["labelled"]}, "fields": {}, "memory": 0}
    return header, snapshot[_PREFIX.size + length :]


def _definitions(layout: Layout) -> dict[str, str]:
    """Of the derived fields that features are made of."""
    fields = layout.plan.fields
    return {f.field: fields.definition(f.field) for f in layout.plan.features if f.field in fields and f.field}


def _shape(layout: Layout) -> dict[str, Any]:
    """What must be the same for a log to be used as it is."""
    return {
        "ever": layout.ever,
        "columns": [str(column) for column in layout.columns],
        "extremes": [list(extreme) for extreme in layout.extreme_slots],
        "found": [
            [aggregate, field, *_pair(window), before] for aggregate, field, window, before in layout.found_slots
        ],
        "windows": [_pair(window) for window in layout.head_slots],
    }


def _pair(window: Window) -> list[Any]:
    return [window.kind, window.length]


def _swapped(log: "array[int]") -> "array[int]":
    """In the other byte order."""
    log = log[:]
    log.byteswap()
    return log
