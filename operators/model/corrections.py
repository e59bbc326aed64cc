"""Labels that correct an earlier one after the transaction was learned."""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec


class Settled(NamedTuple):
    """A labelled transaction that has matured: its packed input, and what it was taken for, by a label that arrived
    when. `labels_left`: how many more of its labels are heard. `until`: when it is forgotten."""

    packed: bytes
    is_fraud: bool
    decided_at: int
    labels_left: int
    until: int


class Correction(NamedTuple):
    """What a transaction must be taken for instead, from `at` on."""

    transaction_id: str
    at: int
    packed: bytes
    is_fraud: bool


class CorrectionsState(msgspec.Struct, array_like=True, frozen=True):
    """Everything `Corrections` knows."""

    settled: dict[str, Settled] = {}
    due: list[tuple[int, int, str, int, bool]] = []
    number: int = 0


class Corrections:
    """Remembers the latest `room` labelled transactions that matured, each for `horizon` milliseconds, so that a later
    label can still change what they are taken for.

    A label counts when it has arrived, if none that arrived later has counted before it (of two at the same instant,
    the one read later). It corrects where it says otherwise than what the transaction is taken for. Memory: the packed
    input, about 100 bytes, and the id for each.
    """

    def __init__(self, room: int, horizon: int, state: CorrectionsState | None = None) -> None:
        state = state or CorrectionsState()
        self._room = room
        self._horizon = horizon
        self._settled = OrderedDict(state.settled)
        self._due = list(state.due)
        self._number = state.number

    @property
    def waiting(self) -> bool:
        """Whether any label waits for its time."""
        return bool(self._due)

    def settle(self, identity: str, packed: bytes, is_fraud: bool, decided_at: int, labels_left: int, now: int) -> None:
        """A transaction matured at `now` by a label that had arrived at `decided_at`."""
        if not self._room:
            return
        self._settled[identity] = Settled(packed, is_fraud, decided_at, labels_left, now + self._horizon)
        self._settled.move_to_end(identity)  # the first is the oldest
        self.forget(now)

    def hear(self, identity: str, is_fraud: bool, arrives_at: int, now: int) -> bool | None:
        """Takes in a label. None: its transaction is not remembered by then; False: it has had too many."""
        settled = self._settled.get(identity)
        if settled is None or max(arrives_at, now) >= settled.until:
            return None
        if not settled.labels_left:
            return False
        self._settled[identity] = settled._replace(labels_left=settled.labels_left - 1)
        self._number += 1
        heappush(self._due, (arrives_at, self._number, identity, settled.until, is_fraud))
        return True

    def due(self, now: int) -> list[Correction]:
        """The corrections by labels that have arrived by `now`, in the order of their arrival."""
        found = []
        while self._due and self._due[0][0] <= now:
            arrived_at, _, identity, until, is_fraud = heappop(self._due)
            settled = self._settled.get(identity)
            if settled is None or settled.until != until or arrived_at < settled.decided_at:
                continue
            self._settled[identity] = settled._replace(is_fraud=is_fraud, decided_at=arrived_at)
            if is_fraud != settled.is_fraud:
                found.append(Correction(identity, now, settled.packed, is_fraud))
        return found

    def forget(self, now: int) -> None:
        """Forgets what is too old, and the oldest beyond the room."""
        settled = self._settled
        while settled:
            oldest = next(iter(settled))
            if len(settled) <= self._room and settled[oldest].until > now:
                return
            del settled[oldest]

    def state(self) -> CorrectionsState:
        """Everything it knows."""
        # As a plain dict: msgspec writes an OrderedDict in the order in which its keys first came.
        return CorrectionsState(dict(self._settled.items()), self._due, self._number)
