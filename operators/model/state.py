"""The versioned encoding of what the model's operators keep: msgpack, never pickle."""

from collections.abc import Collection
from typing import TypeVar

import msgspec

from operators.features.state import StateError

__all__ = ["StateError", "decode_state", "encode_state", "kind_of"]

State = TypeVar("State")


def encode_state(kind: str, version: int, state: object) -> bytes:
    """`state` behind its kind and version. Floats keep every bit, mappings their order."""
    return msgspec.msgpack.encode((kind, version, msgspec.Raw(msgspec.msgpack.encode(state))))


def kind_of(snapshot: bytes) -> str | None:
    """Whose state it is; None where that can't be read."""
    try:
        return msgspec.msgpack.decode(snapshot, type=tuple[str, int, msgspec.Raw])[0]
    except msgspec.DecodeError:
        return None


def decode_state(snapshot: bytes, kind: str, version: int, of: type[State], older: Collection[int] = ()) -> State:
    """The state in `snapshot`, of `version`, or of one of the `older` whose fields are the first of today's. Raises
    StateError where it is another kind's, another version's, or damaged."""
    advice = "run the version that wrote it, or start with an empty recovery directory"
    try:
        found = msgspec.msgpack.decode(snapshot, type=tuple[str, int, msgspec.Raw])
        if found[0] != kind or (found[1] != version and found[1] not in older):
            raise StateError(
                f"the stored state is {found[0]} version {found[1]}, not {kind} version {version}: {advice}"
            )
        return msgspec.msgpack.decode(found[2], type=of)
    except msgspec.DecodeError as error:
        raise StateError(f"the stored state of {kind} can't be read ({error}): {advice}") from error
