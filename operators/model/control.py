"""Commands to models: which one decides, from which version, or none. Records of the models' topic, like weights."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

from operators.model.events import ModelEvent
from operators.model.scoring import LONGEST_NAME as LONGEST_MODEL_NAME
from operators.model.scoring import Weights, WeightsError
from operators.times import iso
from operators.transactions.messages import Messages

Action = Literal["freeze", "unfreeze", "rollback", "promote", "rules_only", "resume"]

PREFIX = "control/"
"""What the keys of commands begin with; no model's name holds a slash, nor an `@`."""
LONGEST_NAME = 80
BY_ITSELF = "fraudflow"
"""Who gave a command that no person gave."""


class Control(msgspec.Struct, frozen=True):
    """A command: the last one under each of its keys is in force, whatever is restarted.

    `freeze` and `rollback` carry the weights that are in force from then on, so that nothing else has to be found for
    them to hold. `model` is empty where a command is about all (`rules_only`, `resume`). `at` is in milliseconds, the
    wall clock's; in JSON ISO 8601 with `Z`.
    """

    action: Action
    model: str
    by: str
    reason: str
    at: int
    weights: Weights | None = None

    @property
    def key(self) -> str:
        """Of its record: commands that replace each other share one."""
        match self.action:
            case "promote":
                return f"{PREFIX}champion"
            case "rules_only" | "resume":
                return f"{PREFIX}scoring"
            case _:
                return f"{PREFIX}{self.model}"

    def to_json(self) -> bytes:
        """The record."""
        weights = None if self.weights is None else msgspec.Raw(self.weights.to_json())
        return msgspec.json.encode({**msgspec.structs.asdict(self), "at": iso(self.at), "weights": weights})

    @classmethod
    def from_json(cls, record: bytes) -> "Control":
        """The command in a record. Raises WeightsError: not JSON, a field missing or of another type, no weights where
        there must be some."""
        try:
            read = _DECODER.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WeightsError(f"not a command to a model: {error}") from error
        weights = None if bytes(read.weights) == b"null" else Weights.from_json(bytes(read.weights))
        if read.action in {"freeze", "rollback"} and (weights is None or weights.name != read.model):
            raise WeightsError(f"{read.action} of {read.model!r}: wanted `weights` of that model")
        if read.action in {"freeze", "unfreeze", "rollback", "promote"} and not read.model:
            raise WeightsError(f"{read.action}: wanted the name of a `model`")
        return cls(read.action, read.model, read.by, read.reason, round(read.at.timestamp() * 1000), weights)


class _Record(msgspec.Struct):
    action: Action
    model: Annotated[str, msgspec.Meta(max_length=LONGEST_MODEL_NAME)]
    by: Annotated[str, msgspec.Meta(max_length=256)]
    reason: Annotated[str, msgspec.Meta(max_length=2000)]
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    weights: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Record)


class Refused(NamedTuple):
    """A record of the models' topic that can't be used, where it is, and why. `key` is the record's, `at` the broker's
    time of it in milliseconds."""

    topic: str
    partition: int
    offset: int
    error: str
    key: str
    at: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] offset {self.offset} is passed over: {self.error}"

    def event(self) -> ModelEvent:
        """What is told of it."""
        return ModelEvent("refused", self.key[:LONGEST_NAME], 0, self.at, str(self))


def read_models(messages: Messages) -> Iterator[Weights | Control | Refused]:
    """What is to be obeyed of messages of the models' topic, in order. Kept versions (`versions.py`) are left out."""
    columns = zip(messages.offsets, messages.timestamps, messages.keys, messages.values, strict=True)
    for offset, timestamp, key, value in columns:
        name = (key or b"").decode(errors="replace")
        if not value or "@" in name:
            continue
        try:
            yield Control.from_json(value) if name.startswith(PREFIX) else Weights.from_json(value)
        except WeightsError as error:
            yield Refused(messages.topic, messages.partition, offset, str(error), name, timestamp)


def newest_of_each(found: Sequence[Weights | Control]) -> list[Weights | Control]:
    """The same in the end, and shorter: of weights only the newest of each model between two commands."""
    kept: list[Weights | Control] = []
    last: dict[str, int] = {}
    for one in found:
        if isinstance(one, Control):
            last.clear()
        elif one.name in last:
            kept[last[one.name]] = one
            continue
        else:
            last[one.name] = len(kept)
        kept.append(one)
    return kept
