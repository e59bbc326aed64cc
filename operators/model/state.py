"""The versioned encoding of what the model's operators keep: msgpack with a checksum, never pickle."""

from collections.abc import Collection
from typing import TypeVar
from zlib import crc32

import msgspec

from operators.features.state import StateError, restoring

__all__ = ["StateError", "decode_state", "encode_state", "kind_of", "restoring"]

State = TypeVar("State")


class _Stored(msgspec.Struct, array_like=True):
    kind: str
    version: int
    state: msgspec.Raw
    checksum: int | None = None
    """None: stored before there was one."""


def encode_state(kind: str, version: int, state: object) -> bytes:
    """`state` behind its kind and version. Floats keep every bit, mappings their order."""
    packed = msgspec.msgpack.encode(state)
    return msgspec.msgpack.encode(_Stored(kind, version, msgspec.Raw(packed), crc32(packed)))


def kind_of(snapshot: bytes) -> str | None:
    """Whose state it is; None where that can't be read."""
    try:
        return msgspec.msgpack.decode(snapshot, type=_Stored).kind
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_state(snapshot: bytes, kind: str, version: int, of: type[State], older: Collection[int] = ()) -> State:
    """The state in `snapshot`, of `version`, or of one of the `older` whose fields are the first of today's. Raises
    StateError where it is another kind's, another version's, or damaged."""
    advice = "run the version that wrote it, or start with an empty recovery directory"
    try:
        found = msgspec.msgpack.decode(snapshot, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"the stored state of {kind} can't be read ({error}): {advice}") from error
    if found.kind != kind or (found.version != version and found.version not in older):
        raise StateError(
            f"the stored state is {found.kind} version {found.version}, not {kind} version {version}: {advice}"
        )
    if found.checksum is not None and found.checksum != crc32(found.state):
        raise StateError(f"the stored state of {kind} is damaged (its checksum is wrong): {advice}")
    try:
        return msgspec.msgpack.decode(found.state, type=of)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"the stored state of {kind} can't be read ({error}): {advice}") from error
