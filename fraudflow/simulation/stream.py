"""Traffic woven into one stream of messages: frauds among ordinary events, late ones, broken ones, labels."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple, Protocol

import orjson

from fraudflow.simulation.malformed import KINDS, oversized
from operators.times import iso

SOURCE = "simulator"


class Draft(Protocol):
    """An event that is planned and not yet written."""

    @property
    def time(self) -> int: ...
    @property
    def fraud(self) -> str: ...
    def _replace(self, **changes: Any) -> "Draft": ...


class Traffic(Protocol):
    """What makes events of one format. Calls must come in the order of the stream: they draw from one generator."""

    labels_inside: bool

    def ordinary(self, time: int) -> Any: ...
    def episode(self, scenario: str, time: int) -> Sequence[Any]: ...
    def key(self, draft: Any) -> str: ...
    def message(self, draft: Any, transaction_id: str) -> dict[str, Any]: ...


class Message(NamedTuple):
    """What goes to the broker. `time` is when it is sent, on the stream's clock; the event's own is in the value."""

    time: int
    is_label: bool
    key: bytes
    value: bytes


class Mix(NamedTuple):
    """What a stream is made of, in shares of its transactions; times in milliseconds."""

    scenarios: tuple[str, ...] = ()
    fraud_share: float = 0.01
    late_share: float = 0.0
    late_by: int = 60_000
    malformed_share: float = 0.0
    label_delay: int = 30_000
    oversize: int | None = None
    """Also send messages longer than this many bytes, as one kind of the malformed."""


class Stream:
    """One message for each time it is given, and the labels that are due by then.

    Frauds take the places of ordinary events, so that the rate stays what was asked for. The same traffic, generator
    and times give the same bytes. Memory grows with the labels that wait, not with the stream.
    """

    def __init__(self, traffic: Traffic, rng: Random, name: str, mix: Mix) -> None:
        self.traffic = traffic
        self.rng = rng
        self.name = name
        self.mix = mix
        self.sent = 0
        self.frauds = 0
        self.malformed = 0
        self._planned: list[tuple[int, int, Any]] = []
        self._labels: list[tuple[int, int, Message]] = []
        self._number = 0
        self._turn = 0
        # The frauds of an episode are known once it is drawn: this keeps count of how many are owed by now.
        self._owed = 1.0

    def messages(self, times: Iterable[int]) -> Iterator[Message]:
        """The stream at these ascending times (milliseconds). Labels come between, at their own."""
        rng, mix, traffic = self.rng, self.mix, self.traffic
        random = rng.random
        for time in times:
            if self._labels:
                yield from self._due(time)
            if mix.scenarios:
                self._owed += mix.fraud_share
                if self._owed >= 1.0:
                    self._plan(time)
            if mix.malformed_share and random() < mix.malformed_share:
                yield self._broken(time)
                continue
            if self._planned and self._planned[0][0] <= time:
                draft = heappop(self._planned)[2]
            else:
                draft = traffic.ordinary(time)
            if mix.late_share and random() < mix.late_share:
                draft = draft._replace(time=draft.time - 1_000 - int(random() * mix.late_by))
            self._number += 1
            transaction_id = f"{self.name}-{self._number:07d}"
            key = traffic.key(draft)
            value = orjson.dumps(traffic.message(draft, transaction_id))
            self.sent += 1
            if draft.fraud:
                self.frauds += 1
                if not traffic.labels_inside:
                    self._label(draft, key, transaction_id)
            yield Message(time, False, key.encode(), value)

    def remaining_labels(self) -> Iterator[Message]:
        """The labels that were not due when the stream ended, each with the time at which it is."""
        yield from self._due(None)

    @property
    def waiting_labels(self) -> int:
        return len(self._labels)

    def _plan(self, time: int) -> None:
        """The scenarios take turns, so that a short run has seen each of them."""
        scenario = self.mix.scenarios[self._turn % len(self.mix.scenarios)]
        self._turn += 1
        for draft in self.traffic.episode(scenario, time):
            self._number += 1
            heappush(self._planned, (draft.time, self._number, draft))
            self._owed -= bool(draft.fraud)

    def _label(self, draft: Draft, user: str, transaction_id: str) -> None:
        due = draft.time + self.mix.label_delay
        label = {
            "transaction_id": transaction_id,
            "user_id": user,
            "is_fraud": True,
            "labelled_at": iso(due),
            "source": f"{SOURCE}:{draft.fraud}",
        }
        message = Message(due, True, user.encode(), orjson.dumps(label))
        heappush(self._labels, (due, self._number, message))

    def _due(self, time: int | None) -> Iterator[Message]:
        labels = self._labels
        while labels and (time is None or labels[0][0] <= time):
            yield heappop(labels)[2]

    def _broken(self, time: int) -> Message:
        self.malformed += 1
        self._number += 1
        draft = self.traffic.ordinary(time)
        message = self.traffic.message(draft, f"{self.name}-{self._number:07d}")
        key = self.traffic.key(draft).encode()
        kind = (self.malformed - 1) % (len(KINDS) + (self.mix.oversize is not None))
        if kind == len(KINDS):
            return Message(time, False, key, oversized(message, self.mix.oversize or 0))
        return Message(time, False, key, KINDS[kind][1](message))
