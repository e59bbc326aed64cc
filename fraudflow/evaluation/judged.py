"""What was decided on a history, column by column."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.decisions.decide import VERDICTS, Decision
from operators.transactions.records import Transaction

ALLOW, REVIEW, BLOCK = range(len(VERDICTS))
CODES = {verdict: code for code, verdict in enumerate(VERDICTS)}
UNKNOWN = -1

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Judged:
    """The transactions in event-time order with what was decided on each, and what it was.

    Columns of numpy once `close`d: `time` (milliseconds), `amount`, `score` (NaN: none), `verdict` (an index of
    VERDICTS), `label` (1 fraud, 0 legitimate, -1 unknown); `ids`, `users` and `rules` (those that fired) are lists.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.users: list[str] = []
        self.rules: list[tuple[str, ...]] = []
        self._time = array("q")
        self._amount = array("d")
        self._score = array("d")
        self._verdict = array("b")
        self._label = array("b")

    def add(
        self,
        transactions: Sequence[Transaction],
        scores: Sequence[float | None],
        suspicious: Sequence[Decision],
        labels: Sequence[bool | None],
    ) -> None:
        """A batch, in order; of it `suspicious` are not allowed."""
        decisions = {decision.transaction.transaction_id: decision for decision in suspicious}
        ids = [transaction.transaction_id for transaction in transactions]
        self.ids += ids
        self.users += [transaction.user_id for transaction in transactions]
        self._time.extend([transaction.event_time for transaction in transactions])
        self._amount.extend([transaction.amount for transaction in transactions])
        self._score.extend([np.nan if score is None else score for score in scores])
        self._label.extend([UNKNOWN if label is None else label for label in labels])
        found = [decisions.get(identity) for identity in ids]
        self._verdict.extend([ALLOW if decision is None else CODES[decision.verdict] for decision in found])
        self.rules += [() if one is None else tuple(hit.id for hit in one.hits) for one in found]

    def __len__(self) -> int:
        return len(self.ids)

    def close(self) -> None:
        """Make the columns; nothing is added afterwards."""
        self.time: NDArray[np.int64] = np.frombuffer(self._time, dtype=np.int64)
        self.amount: Numbers = np.frombuffer(self._amount, dtype=np.float64)
        self.score: Numbers = np.frombuffer(self._score, dtype=np.float64)
        self.verdict: NDArray[np.int8] = np.frombuffer(self._verdict, dtype=np.int8)
        self.label: NDArray[np.int8] = np.frombuffer(self._label, dtype=np.int8)

    def between(self, first: int, last: int) -> "Judged":
        """Those with `first` <= time < `last`, closed."""
        start, end = bisect_left(self.time, first), bisect_left(self.time, last)
        part = Judged()
        for column in ("ids", "users", "rules", "time", "amount", "score", "verdict", "label"):
            values: Any = getattr(self, column)
            setattr(part, column, values[start:end])
        return part

    @property
    def has_scores(self) -> bool:
        """Whether any transaction had a score."""
        return not bool(np.isnan(self.score).all())

    @property
    def labelled(self) -> Flags:
        """Which are known to be fraud or not."""
        return np.asarray(self.label != UNKNOWN)

    @property
    def fraud(self) -> Flags:
        """Which are known to be fraud."""
        return np.asarray(self.label == 1)

    @property
    def scored(self) -> Flags:
        """Which are labelled and had a score: what the score is judged on."""
        return np.asarray(self.labelled & ~np.isnan(self.score))
