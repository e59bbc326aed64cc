"""Labels completed by what their transaction had: an entity's key that a label does not tell, and derived fields."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from operators.features.labels import Key, Labelled
from operators.features.plan import EntityPlan, LabelMemory
from operators.transactions.records import Label, Transaction

MOST_LABELS: Final = 4
"""Labels that wait for one transaction."""
BEGINNING: Final = -(1 << 62)
SIZE: Final = 8
"""Bytes of a hash."""
Row: TypeAlias = tuple[Any, ...]
_TIME: Final = 8
_LABELLED: Final = b"\1"


class CompletedLabel(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A label with its transaction's keys, in the order of `LabelMemory.keys`, and the fields that were true of it."""

    is_fraud: bool
    arrives_at: int
    keys: tuple[Key | None, ...]
    fields: tuple[str, ...]

    def of(self, plan: EntityPlan) -> Labelled:
        """As the windows of an entity take it."""
        return Labelled(self.key(plan), self.is_fraud, self.arrives_at, frozenset(self.fields))

    def key(self, plan: EntityPlan) -> Key | None:
        """The key that its transaction had."""
        return self.keys[plan.label_keys.index(plan.field)]


class Counts(msgspec.Struct):
    """What could not be completed, since the start. `dropped`: transactions given up for want of room before a label
    came. `unmatched`: labels whose transaction never came, or was given up. `surplus`: labels beyond `MOST_LABELS` that
    waited for one transaction. `repeated`: transactions with an id that was remembered already."""

    dropped: int = 0
    unmatched: int = 0
    surplus: int = 0
    repeated: int = 0


class LabelCompletion:
    """The transactions of a key group of users that labels may come for, and the labels that wait for theirs.

    A transaction is remembered, also after a label, until the latest event time of the group has gone on by `maturity`
    since it came; a label waits as long after its arrival, or after that time where it is later. Of more than `room` of
    either the oldest are given up, and counted. The same sequence gives the same, however it is cut into batches.
    Memory: about 250 bytes and the keys' text for a transaction; in a snapshot 25 and the text.
    """

    def __init__(self, memory: LabelMemory, given: Sequence[str], own: Sequence[str], snapshot: bytes | None = None):
        """The fields are found in the columns of the rows so far, or in the windows' own."""
        self.memory = memory
        self.given = [(number, given.index(field)) for number, field in enumerate(memory.fields) if field in given]
        self.own = [(number, own.index(field)) for number, field in enumerate(memory.fields) if field in own]
        self.counts = Counts()
        self._clock = BEGINNING
        self._kept: dict[bytes, bytes] = {}
        self._order: deque[bytes] = deque()
        self._early: dict[bytes, list[tuple[int, bool]]] = {}
        self._early_until: dict[bytes, int] = {}
        self._early_order: deque[bytes] = deque()
        self._early_due: list[tuple[int, bytes]] = []
        self._keys = _keys_of(memory.keys)
        if snapshot is not None:
            self._restore(snapshot)

    def __len__(self) -> int:
        return len(self._kept)

    def transactions(
        self, transactions: Sequence[Transaction], given: Sequence[Row], rows: Sequence[Row], but: Collection[int] = ()
    ) -> list[CompletedLabel]:
        """Remembers transactions with their rows, `but` those at some indexes; gives the labels that waited for one."""
        completed: list[CompletedLabel] = []
        kept, order, early = self._kept, self._order, self._early
        keys_of, maturity, room = self._keys, self.memory.maturity, self.memory.room
        clock = self._clock
        for n, transaction in enumerate(transactions):
            if n in but:
                continue
            identity = identity_of(transaction.user_id, transaction.transaction_id)
            clock = max(clock, transaction.event_time)
            if identity in kept:
                self.counts.repeated += 1
            else:
                keys = keys_of(transaction)
                true = [number for number, column in self.given if given[n][column]]
                true += [number for number, column in self.own if rows[n][column]]
                labels = early.pop(identity, None) if early else None
                kept[identity] = _packed(clock + maturity, labels is not None, keys, true)
                order.append(identity)
                if labels is not None:
                    del self._early_until[identity]
                    completed += [CompletedLabel(fraud, at, keys, self._names(true)) for at, fraud in labels]
            if len(kept) > room or early or _until(kept[order[0]]) <= clock:
                self._clock = clock
                self._forget()
        self._clock = clock
        return completed

    def labels(self, labels: Iterable[Label]) -> list[CompletedLabel]:
        """Gives the labels whose transaction is remembered; the others wait for theirs."""
        completed = []
        for label in labels:
            identity = identity_of(label.user_id, label.transaction_id)
            packed = self._kept.get(identity)
            if packed is None:
                self._wait(identity, label)
                continue
            if packed[_TIME : _TIME + 1] != _LABELLED:
                self._kept[identity] = packed[:_TIME] + _LABELLED + packed[_TIME + 1 :]
            keys, true = _READ(packed[_TIME + 1 :])
            completed.append(CompletedLabel(label.is_fraud, label.arrives_at, keys, self._names(true)))
        return completed

    def _names(self, true: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.memory.fields[number] for number in true)

    def _wait(self, identity: bytes, label: Label) -> None:
        waiting = self._early.setdefault(identity, [])
        if len(waiting) >= MOST_LABELS:
            self.counts.surplus += 1
            return
        if not waiting:
            self._early_order.append(identity)
        waiting.append((label.arrives_at, label.is_fraud))
        until = max(label.arrives_at, self._clock) + self.memory.maturity
        if until > self._early_until.get(identity, BEGINNING):
            self._early_until[identity] = until
            heappush(self._early_due, (until, identity))
        self._forget()

    def _forget(self) -> None:
        """What is past its time, and what is too much."""
        kept, order, clock, room = self._kept, self._order, self._clock, self.memory.room
        while order and (len(kept) > room or _until(kept[order[0]]) <= clock):
            packed = kept.pop(order.popleft())
            if _until(packed) > clock and packed[_TIME : _TIME + 1] != _LABELLED:
                self.counts.dropped += 1
        due, early = self._early_due, self._early
        while due and due[0][0] <= clock:
            until, identity = heappop(due)
            if self._early_until.get(identity) == until:
                self._give_up(identity)
        while len(early) > room:
            self._give_up(self._early_order.popleft())
        if len(due) + len(self._early_order) > 4 * len(early) + 1_000:
            self._early_due = [(until, identity) for identity, until in self._early_until.items()]
            heapify(self._early_due)
            self._early_order = deque(identity for identity in dict.fromkeys(self._early_order) if identity in early)

    def _give_up(self, identity: bytes) -> None:
        self.counts.unmatched += len(self._early.pop(identity, ()))
        self._early_until.pop(identity, None)

    # --- state

    def snapshot(self) -> bytes:
        """Everything it knows; a part of the windows' state."""
        identities = [*self._order]
        early = [identity for identity in dict.fromkeys(self._early_order) if identity in self._early]
        state = _State(
            self.memory.fields,
            self.memory.keys,
            self.counts,
            self._clock,
            b"".join(identities),
            [self._kept[identity] for identity in identities],
            [(identity, self._early_until[identity], self._early[identity]) for identity in early],
        )
        return msgspec.msgpack.encode(state)

    def _restore(self, snapshot: bytes) -> None:
        """Of transactions from before a key or a field was wanted, that is missing."""
        state = msgspec.msgpack.decode(snapshot, type=_State)
        self.counts, self._clock = state.counts, state.clock
        identities = [state.identities[start : start + SIZE] for start in range(0, len(state.identities), SIZE)]
        packed = state.packed
        if (state.fields, state.keys) != (self.memory.fields, self.memory.keys):
            packed = [self._converted(one, state) for one in packed]
        self._order = deque(identities)
        self._kept = dict(zip(identities, packed, strict=True))
        for identity, until, labels in state.early:
            self._early[identity] = labels
            self._early_until[identity] = until
            self._early_order.append(identity)
        self._early_due = sorted((until, identity) for identity, until in self._early_until.items())

    def _converted(self, packed: bytes, state: "_State") -> bytes:
        keys, true = _READ(packed[_TIME + 1 :])
        known = dict(zip(state.keys, keys, strict=True))
        had = {state.fields[number] for number in true}
        again = [number for number, field in enumerate(self.memory.fields) if field in had]
        return _packed(
            _until(packed),
            packed[_TIME : _TIME + 1] == _LABELLED,
            tuple(known.get(key) for key in self.memory.keys),
            again,
        )


def identity_of(user_id: str, transaction_id: str) -> bytes:
    """What tells a user's transaction from others, of a hash that nobody can find two ids for."""
    return blake2b(f"{user_id}\0{transaction_id}".encode(), digest_size=SIZE).digest()


def _keys_of(fields: Sequence[str]) -> Callable[[Transaction], tuple[Key | None, ...]]:
    """What gives a transaction's fields as a tuple."""
    if len(fields) == 1:
        (field,) = fields
        return lambda transaction: (getattr(transaction, field),)
    return attrgetter(*fields) if fields else lambda _: ()


def _packed(until: int, labelled: bool, keys: tuple[Key | None, ...], true: Sequence[int]) -> bytes:
    return until.to_bytes(_TIME, "little", signed=True) + (_LABELLED if labelled else b"\0") + _WRITE((keys, true))


def _until(packed: bytes) -> int:
    return int.from_bytes(packed[:_TIME], "little", signed=True)


_WRITE = msgspec.msgpack.Encoder().encode
_READ = msgspec.msgpack.Decoder(tuple[tuple[str | float | None, ...], tuple[int, ...]]).decode


class _State(msgspec.Struct, array_like=True):
    fields: tuple[str, ...]
    keys: tuple[str, ...]
    counts: Counts
    clock: int
    identities: bytes
    packed: list[bytes]
    early: list[tuple[bytes, int, list[tuple[int, bool]]]]
