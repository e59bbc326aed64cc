"""A mean and how far it can be trusted at every moment, not only at one chosen beforehand."""

from math import log, sqrt

import msgspec


class Mean(msgspec.Struct, array_like=True):
    """The mean of the numbers so far, and bounds that hold at all times at once with a chance of 1 - `miss` each.

    One may look after every number and stop when one likes, which an ordinary confidence interval does not allow.
    Numbers may depend on what came before; the bounds are then for the mean of their expectations. They hold
    asymptotically, so look only after some hundred numbers.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic
    confidence sequences, Annals of Statistics 52, 2024 (theorem 2.2, and appendix B.2 for where they are tightest);
    for comparing forecasters by it: Choe and Ramdas, Comparing sequential forecasters, Operations Research 72, 2024.
    """

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """The next number (Welford)."""
        self.number += 1
        before = value - self.mean
        self.mean += before / self.number
        self.squares += before * (value - self.mean)

    def margin(self, miss: float, tightest: int) -> float:
        """How far the mean may lie from the truth, on one side; narrowest, for what can be known, after `tightest`."""
        if self.number < 2:
            return float("inf")
        alpha = 2.0 * miss
        rho = (-2.0 * log(alpha) + log(1.0 - 2.0 * log(alpha))) / tightest
        grown = self.number * rho + 1.0
        spread = self.squares / self.number
        return sqrt(spread * 2.0 * grown / (self.number**2 * rho) * log(sqrt(grown) / alpha))

    def low(self, miss: float, tightest: int) -> float:
        """The mean is no lower."""
        return self.mean - self.margin(miss, tightest)
