"""Whether the champion is worth anything: its log-loss against that of always saying the share of frauds."""

from collections import deque
from collections.abc import Iterable

import msgspec

from operators.model.confidence import Mean
from operators.model.encoding import Input
from operators.model.quality import log_loss
from operators.model.scoring import Scorer, Weights
from operators.model.specification import Safety

SMALLEST = 1e-6
"""Losses count up to 13.8."""
LOOKED_AT = 100
"""After every so many examples."""
LEAST = 200
LEAST_FRAUDS = 10
"""Examples and frauds, below which the bound means nothing: what has hardly been seen is not in the spread."""
GROSS = 0.2
"""A mean log-loss above this and twice the limit needs no frauds: everything is called one."""
REMEMBERED = 5_000
"""The share of frauds is that of about so many of the latest examples."""
RECENT = 300
"""So many of the latest examples tell which older version would have done best."""


class Judged(msgspec.Struct, array_like=True, frozen=True):
    """An example by which versions are compared."""

    input: Input
    is_fraud: bool
    event_time: int


class Window(msgspec.Struct, array_like=True):
    """The examples of one window of `length` so far: how far each loss lies above the limit, the losses, the frauds."""

    length: int
    above: Mean = msgspec.field(default_factory=Mean)
    loss: float = 0.0
    frauds: int = 0

    def add(self, loss: float, limit: float, is_fraud: bool) -> None:
        """The next example; in a new window where this one has what it takes."""
        if self.above.number >= self.length and self.frauds >= LEAST_FRAUDS:
            self.above, self.loss, self.frauds = Mean(), 0.0, 0
        self.above.add(loss - limit)
        self.loss += loss
        self.frauds += is_fraud

    @property
    def limit(self) -> float:
        """The mean log-loss from which on the model is out of the band."""
        return self.loss / self.above.number - self.above.mean

    def is_above(self, miss: float) -> bool:
        """Whether the losses are above the limit, surely."""
        number = self.above.number
        if number < LEAST or number % LOOKED_AT:
            return False
        known = self.frauds >= LEAST_FRAUDS or self.loss > number * max(GROSS, 2.0 * self.limit)
        return known and self.above.low(miss, max(LEAST, self.length // 2)) > 0.0


class SafetyState(msgspec.Struct, array_like=True, frozen=True):
    """Everything a band knows."""

    share: float
    examples: int
    windows: list[Window]
    recent: list[Judged]


class Band:
    """Says when a model's log-loss has left its band: when it is surely above `most` times the log-loss of a model that
    knows nothing but the share of frauds (a normalised entropy above 1, as He et al., Practical lessons from predicting
    clicks on ads at Facebook, ADKDD 2014, have it).

    Surely: the mean difference over a window is above 0 with a bound that holds at every look (`Mean`), and there were
    frauds enough to know the spread. There is a long window and, for what fails at once, one of a tenth; each is
    followed by the next, and where frauds are rare it lasts until it has some.
    """

    def __init__(self, safety: Safety, prior: float, state: SafetyState | None = None) -> None:
        self._safety = safety
        self.share = state.share if state else prior
        self._examples = state.examples if state else LOOKED_AT
        self._recent = deque(state.recent if state else (), maxlen=RECENT)
        self._windows = self._new()
        if state and [window.length for window in state.windows] == [window.length for window in self._windows]:
            self._windows = state.windows
        self._out = self._windows[0]

    def _new(self) -> list[Window]:
        return [Window(self._safety.window // 10), Window(self._safety.window)]

    def know(self, is_fraud: bool) -> None:
        """The share of frauds, with every example that matured."""
        self._examples = min(self._examples + 1, REMEMBERED)
        self.share += (is_fraud - self.share) / self._examples

    def begin(self) -> None:
        """What is measured from now on is another model, or another version."""
        self._windows = self._new()
        self._recent.clear()

    def add(self, score: float, x: Input, is_fraud: bool, event_time: int) -> bool:
        """A matured example that this model decided on; whether the log-loss has left its band."""
        loss, limit = (log_loss(said, is_fraud, SMALLEST) for said in (score, self.share))
        self._recent.append(Judged(x, is_fraud, event_time))
        for window in self._windows:
            window.add(loss, self._safety.most * limit, is_fraud)
        for window in self._windows:
            if window.is_above(self._safety.miss / len(self._windows)):
                self._out = window
                return True
        return False

    def __str__(self) -> str:
        window = self._out
        number = window.above.number
        return (
            f"log-loss {window.loss / number:.4f} over {number:,} matured examples ({window.frauds:,} frauds), above "
            f"{window.limit:.4f}: {self._safety.most:g} times that of always saying their share ({self.share:.2%})"
        )

    def best(self, versions: Iterable[tuple[int, Weights]]) -> Weights | None:
        """Of versions with the time (event time, ms) they were published at: the one with the least log-loss on the
        latest examples, none of which it had learned from; None where even that one is out of the band."""
        if not self._recent:
            return None
        before = min(one.event_time for one in self._recent)
        found = [(self._loss_of(weights), -weights.version, weights) for at, weights in versions if at <= before]
        limit = self._safety.most * sum(log_loss(self.share, one.is_fraud, SMALLEST) for one in self._recent)
        loss, _, best = min(found, default=(limit, 0, None), key=lambda one: one[:2])
        return best if loss < limit else None

    def _loss_of(self, weights: Weights) -> float:
        scores = Scorer(weights).scores([one.input for one in self._recent])
        pairs = zip(scores, self._recent, strict=True)
        return sum(log_loss(score, one.is_fraud, SMALLEST) for score, one in pairs if score is not None)

    def state(self) -> SafetyState:
        """For the snapshot."""
        return SafetyState(self.share, self._examples, self._windows, list(self._recent))
