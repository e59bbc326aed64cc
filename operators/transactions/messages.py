"""Messages as they come from a broker, before anything is known of them."""

from collections.abc import Sequence
from typing import Protocol


class Messages(Protocol):
    """A batch of messages of one partition, column by column; `timestamps` are the broker's, in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offsets(self) -> Sequence[int]: ...
    @property
    def timestamps(self) -> Sequence[int]: ...
    @property
    def keys(self) -> Sequence[bytes | None]: ...
    @property
    def values(self) -> Sequence[bytes | None]: ...
