"""What happens to a model, told to people and programs."""

from zlib import crc32

import msgspec

from operators.measurements import Point, Value
from operators.times import iso

UNTOLD = frozenset({"published"})
"""Events that are no points of `model_event`: `model_quality` has a point for each of them."""


TOLD = {
    "freeze": "frozen",
    "unfreeze": "unfrozen",
    "rollback": "rolled_back",
    "promote": "promoted",
    "rules_only": "rules_only",
    "resume": "resumed",
}
"""What the event of a command is called."""


class ModelEvent(msgspec.Struct, frozen=True):
    """`drift`, `published`, `not_published`, `better` (a challenger), `out_of_band` (the champion); of commands those
    of `TOLD`, and `refused` where one can't be obeyed. `at` in milliseconds: event time, a command's own time. `by` and
    `reason` are a command's."""

    event: str
    model: str
    version: int
    at: int
    message: str
    detector: str | None = None
    value: float | None = None
    by: str | None = None
    reason: str | None = None

    def to_json(self) -> bytes:
        """The record of the `fraud-model-events` topic."""
        return msgspec.json.encode({**msgspec.structs.asdict(self), "at": iso(self.at)})

    def to_point(self) -> Point | None:
        """The point of `model_event`; those of a model, kind and millisecond are told apart by version and detector."""
        if self.event in UNTOLD:
            return None
        fields: dict[str, Value] = {"version": self.version, "message": self.message}
        if self.by:
            fields["by"] = self.by
        time_ns = self.at * 1_000_000 + (self.version + crc32((self.detector or "").encode())) % 1_000_000
        return Point("model_event", {"model": self.model or "all", "event": self.event}, fields, time_ns)
