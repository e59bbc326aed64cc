"""Joins labels to transactions as they were when they were decided on."""

from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple

import msgspec

from operators.model.corrections import Corrections, CorrectionsState
from operators.model.encoding import Input
from operators.model.state import decode_state, encode_state, restoring
from operators.transactions.records import Label

STATE_VERSION = 3
OLDER_VERSIONS = (1, 2)
"""What is read too: 1 knew no corrections, 2 one model."""
MAX_LABELS = 4
"""Labels kept for one transaction; more can't change what it is taken for in any sane use, and a flood could."""


NO_SCORES: Mapping[str, float] = {}


class Decided(NamedTuple):
    """A transaction that was decided on: the models' input and the score that decided (None without a model) as they
    were then. `champion` is the model of that score (empty where there is only one), `others` what the others scored.
    """

    transaction_id: str
    event_time: int
    input: Input
    score: float | None
    amount: float
    champion: str = ""
    others: Mapping[str, float] = NO_SCORES
    user: str = ""


class Example(NamedTuple):
    """A matured transaction: what was known at the decision, and whether it was fraud. `corrects`: it was an example
    before, with the opposite verdict."""

    transaction_id: str
    event_time: int
    matured_at: int
    input: Input
    score: float | None
    is_fraud: bool
    weight: float
    amount: float
    corrects: bool = False
    champion: str = ""
    others: Mapping[str, float] = NO_SCORES
    user: str = ""

    def score_of(self, model: str) -> float | None:
        """What a model scored when it was decided on."""
        return self.score if self.champion in {"", model} else self.others.get(model)


class Counts(msgspec.Struct):
    """What did not become an example, since the start. `dropped`: transactions given up for want of room.
    `repeated`: decided on while the same id was still pending. `unmatched`: labels whose transaction never came, or had
    matured before. `late`: labels that arrived after maturity. `surplus`: labels beyond `MAX_LABELS` of a transaction.
    `corrected` did: labels that changed what a transaction was taken for.
    """

    dropped: int = 0
    repeated: int = 0
    unmatched: int = 0
    late: int = 0
    surplus: int = 0
    corrected: int = 0


class Packed(NamedTuple):
    """Decided transactions as the join keeps them: ids, times, and the rest as bytes, in which names are numbers.

    `names` are those that got a number for it, from `first_name` on.
    """

    identities: list[str]
    times: list[int]
    packed: list[bytes]
    first_name: int
    names: list[str]

    @classmethod
    def of(cls, identities: list[str], packed: list[bytes], first_name: int, names: list[str]) -> "Packed":
        """The times are also in the bytes."""
        return cls(identities, list(map(_event_time, packed)), packed, first_name, names)


class LabelJoin:
    """The pending transactions of one shard and the labels that wait for them. Times in milliseconds.

    The clock is the latest event time decided on; labels don't move it. A transaction matures

    - with its label, when the clock reaches the label's `arrives_at` (of several that had arrived when it is met, the
      latest counts; of two at the same instant, the one read later);
    - without one, as legitimate, when the clock reaches its event time plus `maturity`; where it came late, `maturity`
      after the clock at its decision, for its label may be on its way, on another path. A later label is too late.

    Examples come out in the order of (matured_at, transaction_id); what becomes known after its time matures at the
    clock it is met at, so `matured_at` never falls. A labelled transaction is remembered for another `maturity`, the
    latest `max_corrections` of them: a label that arrives later and says otherwise makes it an example again, with the
    opposite verdict and `corrects` set. How the same sequence is cut into batches changes nothing. An id
    decided on again while it is pending is passed over. At most `max_pending` transactions wait, and as many ids of
    labels without one (a label waits for its transaction as long as a transaction for its label); beyond that the
    oldest are given up, and counted. Memory: about 200 bytes and its id for a pending transaction of 11 features, in
    the snapshot 70 and the id.
    """

    def __init__(
        self,
        *,
        maturity: int,
        max_pending: int = 1_000_000,
        max_corrections: int = 10_000,
        snapshot: bytes | None = None,
    ) -> None:
        if maturity < 0 or max_pending < 1:
            raise ValueError("wanted: a maturity of 0 or more, and room for at least 1 pending transaction")
        self.maturity = maturity
        self.max_pending = max_pending
        state = (
            _State()
            if snapshot is None
            else decode_state(snapshot, "label join", STATE_VERSION, _State, OLDER_VERSIONS)
        )
        self.counts = state.counts
        self._corrections = Corrections(max_corrections, maturity, state.corrections)
        self._clock = state.clock
        self._names = state.names
        self._numbers = {name: number for number, name in enumerate(state.names)}
        with restoring("label join"):
            self._pending = dict(zip(state.pending, state.packed, strict=True))
            self._due = list(zip(state.due_at, state.due, strict=True))
            self._early = dict(zip(state.early, state.early_until, strict=True))
        self._labels = state.labels
        self._behind = state.behind
        self._oldest: dict[str, None] = {}
        self._early_due = sorted((until, identity) for identity, until in self._early.items())  # sorted: a heap

    @property
    def pending(self) -> int:
        """How many transactions wait."""
        return len(self._pending)

    def decided(self, batch: Iterable[Decided]) -> list[Example]:
        """Takes in what was decided, advances the clock, and gives what matured by it."""
        return self.enter(self.pack(batch))

    def pack(self, batch: Iterable[Decided]) -> Packed:
        """What `enter` takes: the first half of `decided`, for those who want to note down what goes in."""
        first = len(self._names)
        identities, times, packed = [], [], []
        for decided in batch:
            identities.append(decided.transaction_id)
            times.append(decided.event_time)
            packed.append(self._pack(decided))
        return Packed(identities, times, packed, first, self._names[first:])

    def enter(self, batch: Packed) -> list[Example]:
        """The second half of `decided`. May be of another join that was in the same state when it packed it."""
        matured: list[Example] = []
        pending, early = self._pending, self._early
        if batch.names and batch.first_name == len(self._names):
            self._names += batch.names
            self._numbers |= {name: number for number, name in enumerate(batch.names, batch.first_name)}
        for identity, event_time, packed in zip(batch.identities, batch.times, batch.packed, strict=True):
            self._clock = max(self._clock, event_time)
            if identity in pending:
                self.counts.repeated += 1
            else:
                pending[identity] = packed
                if early:
                    early.pop(identity, None)
                if self._oldest:
                    self._oldest.pop(identity, None)
                if event_time < self._clock:
                    self._behind[identity] = self._clock
                self._schedule(identity, event_time)
                if len(pending) > self.max_pending:
                    self._give_up_oldest()
            if self._due[0][0] <= self._clock:
                self._mature(matured)
            if self._corrections.waiting:
                self._correct(matured)
            if early:
                self._forget_early()
        return matured

    def labels(self, labels: Iterable[Label]) -> list[Example]:
        """Takes in labels, and gives what matured by them. One whose transaction is not known yet waits for it."""
        matured: list[Example] = []
        for label in labels:
            identity = label.transaction_id
            if identity not in self._pending:
                heard = self._corrections.hear(identity, label.is_fraud, label.arrives_at, self._clock)
                if heard is not None:
                    self.counts.surplus += not heard
                    self._correct(matured)
                    continue
            known = self._labels.setdefault(identity, [])
            if len(known) >= MAX_LABELS:
                self.counts.surplus += 1
                continue
            known.append((label.arrives_at, label.is_fraud))
            if identity in self._pending:
                self._schedule(identity, _event_time(self._pending[identity]))
                self._mature(matured)
            else:
                until = max(label.arrives_at, self._clock) + self.maturity
                self._early.pop(identity, None)  # to the end of the order in which they are given up
                self._early[identity] = until
                heappush(self._early_due, (until, identity))
                self._forget_early()
        return matured

    def finish(self) -> list[Example]:
        """Everything that waits matures, as if the time of all of it had come: for the end of a history."""
        matured: list[Example] = []
        self._clock = max((self._clock, *(at for at, _ in self._due)))
        self._mature(matured)
        return matured

    def snapshot(self) -> bytes:
        """Everything it knows; a join made from it continues as this one would."""
        return encode_state(
            "label join",
            STATE_VERSION,
            _State(
                counts=self.counts,
                clock=self._clock,
                names=self._names,
                pending=list(self._pending),
                packed=list(self._pending.values()),
                due_at=[at for at, _ in self._due],
                due=[identity for _, identity in self._due],
                labels=self._labels,
                early=list(self._early),
                early_until=list(self._early.values()),
                corrections=self._corrections.state(),
                behind=self._behind,
            ),
        )

    def _ripe_at(self, identity: str, event_time: int) -> int:
        """When it matures, by the labels known now."""
        latest = self._behind.get(identity, event_time) + self.maturity
        known = self._labels.get(identity)
        if not known:
            return latest
        arrives_at = known[0][0] if len(known) == 1 else min(known)[0]
        return max(event_time, min(latest, arrives_at))

    def _schedule(self, identity: str, event_time: int) -> None:
        heappush(self._due, (max(self._ripe_at(identity, event_time), self._clock), identity))

    def _mature(self, matured: list[Example]) -> None:
        due, clock = self._due, self._clock
        while due and due[0][0] <= clock:
            at, identity = heappop(due)
            packed = self._pending.get(identity)
            if packed is None:
                continue  # matured earlier, by a label, or was given up
            event_time = _event_time(packed)
            if self._ripe_at(identity, event_time) > at:
                continue  # of an earlier transaction with this id; its own turn comes
            del self._pending[identity]
            self._behind.pop(identity, None)
            matured.append(self._example(identity, at, packed, self._taken_for(identity, at, packed)))

    def _taken_for(self, identity: str, at: int, packed: bytes) -> bool:
        """The verdict of the latest label that had arrived at `at`. Where there is one it may be corrected yet."""
        labels = self._labels.pop(identity, None)
        if labels is None:
            return False
        if len(labels) == 1 and labels[0][0] <= at:
            ((decided_at, is_fraud),) = labels
            self._corrections.settle(identity, packed, is_fraud, decided_at, MAX_LABELS - 1, self._clock)
            return is_fraud
        arrived = [label for label in labels if label[0] <= at]
        if not arrived:
            self.counts.late += len(labels)
            return False
        decided_at = max(arrives_at for arrives_at, _ in arrived)
        is_fraud = [is_fraud for arrives_at, is_fraud in arrived if arrives_at == decided_at][-1]
        corrections = self._corrections
        corrections.settle(identity, packed, is_fraud, decided_at, MAX_LABELS - len(arrived), self._clock)
        for arrives_at, verdict in labels:
            if arrives_at > at and corrections.hear(identity, verdict, arrives_at, self._clock) is None:
                self.counts.late += 1
        return is_fraud

    def _correct(self, matured: list[Example]) -> None:
        for identity, at, packed, is_fraud in self._corrections.due(self._clock):
            self.counts.corrected += 1
            matured.append(self._example(identity, at, packed, is_fraud)._replace(corrects=True))

    def _example(self, identity: str, at: int, packed: bytes, is_fraud: bool) -> Example:
        p = _PACKED.decode(packed[8:])
        names = self._names
        x = dict(zip([names[number] for number in p.numbers], p.values or [1.0] * len(p.numbers), strict=True))
        champion = "" if p.champion is None else names[p.champion]
        others = {names[number]: score for number, score in p.others} if p.others else NO_SCORES
        event_time = _event_time(packed)
        return Example(identity, event_time, at, x, p.score, is_fraud, 1.0, p.amount, False, champion, others, p.user)

    def _give_up_oldest(self) -> None:
        # The first key of a dict that is emptied from the front is ever further to find: look for many at a time.
        while True:
            if not self._oldest:
                self._oldest = dict.fromkeys(islice(self._pending, 1_000))
            identity = next(iter(self._oldest))
            del self._oldest[identity]
            if identity in self._pending:
                break
        del self._pending[identity]
        self._behind.pop(identity, None)
        self._labels.pop(identity, None)
        self.counts.dropped += 1
        if len(self._due) > 4 * self.max_pending + 1_000:  # else what was given up would stay there until it was due
            self._due = [due for due in self._due if due[1] in self._pending]
            heapify(self._due)

    def _forget_early(self) -> None:
        """Gives up labels whose transaction has not come."""
        early, due = self._early, self._early_due
        while due and (due[0][0] <= self._clock or len(early) > self.max_pending):
            if len(early) > self.max_pending:
                identity = next(iter(early))
            else:
                until, identity = heappop(due)
                if early.get(identity) != until:
                    continue
            del early[identity]
            self.counts.unmatched += len(self._labels.pop(identity, ()))
        if len(due) > 2 * len(early) + 1_000:
            self._early_due = sorted((until, identity) for identity, until in early.items())

    def _pack(self, decided: Decided) -> bytes:
        """Names as numbers, values left out where all are 1: an eighth of a dict."""
        x = decided.input
        numbers, values = self._numbered(x), list(x.values())
        champion, others = None, None
        if decided.champion:
            (champion,) = self._numbered([decided.champion])
            others = list(zip(self._numbered(decided.others), decided.others.values(), strict=True))
        plain = values.count(1.0) == len(values)
        packed = (decided.amount, decided.score, numbers, None if plain else values, champion, others, decided.user)
        return decided.event_time.to_bytes(8, "little", signed=True) + msgspec.msgpack.encode(packed)

    def _numbered(self, names: Collection[str]) -> list[int]:
        number = self._numbers
        try:
            return [number[name] for name in names]
        except KeyError:
            for name in [name for name in names if name not in number]:
                number[name] = len(number)
                self._names.append(name)
            return [number[name] for name in names]


def _event_time(packed: bytes) -> int:
    return int.from_bytes(packed[:8], "little", signed=True)


class _Packed(msgspec.Struct, array_like=True, gc=False):
    amount: float
    score: float | None
    numbers: list[int]
    values: list[float] | None
    champion: int | None = None
    others: list[tuple[int, float]] | None = None
    user: str = ""


_PACKED = msgspec.msgpack.Decoder(_Packed)


class _State(msgspec.Struct, array_like=True):
    counts: Counts = msgspec.field(default_factory=Counts)
    clock: int = -(2**62)
    names: list[str] = []
    pending: list[str] = []
    packed: list[bytes] = []
    due_at: list[int] = []
    due: list[str] = []
    labels: dict[str, list[tuple[int, bool]]] = {}
    early: list[str] = []
    early_until: list[int] = []
    corrections: CorrectionsState = CorrectionsState()
    behind: dict[str, int] = {}
