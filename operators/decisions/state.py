"""What the operators of decisions keep, as MessagePack behind its version; never pickle."""

from typing import TypeVar

import msgspec

from operators.features.state import StateError, restoring

__all__ = ["StateError", "restoring", "unpacked", "version_of"]

State = TypeVar("State")


def version_of(snapshot: bytes) -> object:
    """The first member of the tuple in `snapshot`. Raises ValueError and the like where there is none."""
    return msgspec.msgpack.decode(snapshot)[0]


def unpacked(kind: str, version: int, snapshot: bytes, of: type[State]) -> State:
    """The tuple in `snapshot`, whose first member is its version. Raises StateError for another one, or for damage."""
    with restoring(kind):
        found = version_of(snapshot)
        if found != version:
            raise StateError(
                f"the stored state of {kind} has format {found!r:.20}, this program reads {version}: run the version "
                "that wrote it, or start with an empty recovery directory"
            )
        return msgspec.msgpack.decode(snapshot, type=of)
