"""Keeps what a model learns from in balance, however much earlier frauds are known than everything else."""

from collections import deque
from collections.abc import Sequence

import msgspec

from operators.model.join import Example


class BalanceState(msgspec.Struct, array_like=True, frozen=True):
    """The latest learned examples (1: fraud), and the frauds that wait."""

    learned: bytes = b""
    waiting: list[Example] = []
    dropped: int = 0


class Balance:
    """Of the latest `window` examples that were let through, frauds are at most the share `most`.

    A fraud is labelled within hours, a legitimate transaction counts as one only at maturity: a model that is new, or
    whose labels are a flood of wrong ones, would see little but frauds, and call everything fraud. A legitimate example
    goes through at once; a fraud beyond the share waits, and follows in order as soon as there is room. At most `room`
    wait: beyond that the oldest is given up and counted in `dropped`. No fraud goes through before a legitimate one.
    Where the true share is below `most`, nothing waits once legitimate examples mature.
    """

    def __init__(self, most: float, window: int, room: int, state: BalanceState | None = None) -> None:
        state = state or BalanceState()
        self.most = most
        self._learned: deque[int] = deque(state.learned, maxlen=window)
        self._frauds = sum(self._learned)
        self._waiting = deque(state.waiting[-room:])
        self._room = room
        self.dropped = state.dropped + len(state.waiting) - len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many frauds wait."""
        return len(self._waiting)

    def pass_through(self, example: Example) -> Sequence[Example]:
        """The examples to learn now, in order: `example` itself or not, and those that waited for it."""
        passed = []
        if example.is_fraud:
            self._waiting.append(example)
        else:
            self._count(0)
            if not self._waiting:
                return (example,)
            passed.append(example)
        while self._waiting and self._has_room():
            self._count(1)
            passed.append(self._waiting.popleft())
        if len(self._waiting) > self._room:
            self._waiting.popleft()
            self.dropped += 1
        return passed

    def take_back(self, transaction_id: str) -> Example | None:
        """The waiting example of that transaction, which then no longer waits."""
        for example in self._waiting:
            if example.transaction_id == transaction_id:
                self._waiting.remove(example)
                return example
        return None

    def state(self) -> BalanceState:
        """Everything it knows."""
        return BalanceState(bytes(self._learned), list(self._waiting), self.dropped)

    def _has_room(self) -> bool:
        """Whether the share stays within bounds with one more fraud."""
        full = len(self._learned) == self._learned.maxlen
        frauds = self._frauds + 1 - (self._learned[0] if full else 0)
        return frauds <= self.most * (len(self._learned) + (not full))

    def _count(self, fraud: int) -> None:
        if len(self._learned) == self._learned.maxlen:
            self._frauds -= self._learned[0]
        self._learned.append(fraud)
        self._frauds += fraud
