"""A challenger against the champion, on the same matured examples."""

import msgspec

from operators.model.confidence import Mean
from operators.model.quality import log_loss
from operators.model.specification import Promotion

SMALLEST = 1e-6
"""Losses are compared up to 13.8: one example shall not decide."""
LEAST_EXAMPLES = 500
"""Below, the bound means nothing."""


class ComparisonState(msgspec.Struct, array_like=True, frozen=True):
    """Everything a comparison knows."""

    gains: Mean
    frauds: int
    told: bool


class Comparison:
    """How much lower the challenger's log-loss is than the champion's: the mean of the differences, example by example,
    each model by the score that it gave when the transaction was decided on.

    It begins anew after `promotion.window` examples, so that a challenger's youth is forgotten.
    """

    def __init__(self, promotion: Promotion, state: ComparisonState | None = None) -> None:
        self._promotion = promotion
        self.gains = state.gains if state else Mean()
        self.frauds = state.frauds if state else 0
        self.told = state.told if state else False

    def add(self, champion: float, challenger: float, is_fraud: bool) -> None:
        """Both scores of the next matured example."""
        if self.gains.number >= self._promotion.window:
            self.gains, self.frauds, self.told = Mean(), 0, False
        self.gains.add(log_loss(champion, is_fraud, SMALLEST) - log_loss(challenger, is_fraud, SMALLEST))
        self.frauds += is_fraud

    @property
    def low(self) -> float:
        """The gain is at least this, with the wanted confidence."""
        promotion = self._promotion
        return self.gains.low(1.0 - promotion.confidence, promotion.examples)

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better, beyond what chance explains."""
        enough = self.gains.number >= LEAST_EXAMPLES and self.frauds >= self._promotion.frauds
        return enough and self.low > 0.0

    def __str__(self) -> str:
        confidence = f"with {self._promotion.confidence:.1%} confidence by at least {self.low:.5f}"
        return (
            f"log-loss lower by {self.gains.mean:.5f}, {confidence}, on the same {self.gains.number:,} examples, "
            f"{self.frauds:,} of them frauds"
        )

    def state(self) -> ComparisonState:
        """For the snapshot."""
        return ComparisonState(self.gains, self.frauds, self.told)
