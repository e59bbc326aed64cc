"""Mobile money in the `paysim` format: accounts with balances, payments, transfers, and the frauds among them."""

from math import exp
from random import Random
from typing import Any, NamedTuple

from fraudflow.simulation.world import HOUR, pick

MINUTE = 60_000

# type: how often (summed up), median amount, sigma of its logarithm
TYPES = (
    ("PAYMENT", 0.34, 9_000.0, 1.0),
    ("CASH_OUT", 0.69, 120_000.0, 0.9),
    ("CASH_IN", 0.91, 110_000.0, 0.9),
    ("TRANSFER", 0.99, 160_000.0, 1.0),
    ("DEBIT", 1.0, 3_500.0, 0.9),
)


class Movement(NamedTuple):
    """One movement of money from account `origin` (a number) to `destination`. `fraud` names its scenario."""

    time: int
    type: str
    origin: int
    destination: str
    amount: float | None
    """None: everything that is there when it happens."""
    fraud: str = ""


class MobileMoneyTraffic:
    """Movements between `users` accounts. The label is inside the message, as in the data set.

    Balances follow the messages in the order in which they are written.
    """

    labels_inside = True

    def __init__(
        self, rng: Random, *, users: int, start: int, span: int, drift_at: int | None = None, epoch: int = 0
    ) -> None:
        self.rng = rng
        self.epoch = epoch
        self.span = span
        self.drift_at = start + span // 2 if drift_at is None else drift_at
        self.balances = [round(rng.lognormvariate(11.0, 1.2), 2) for _ in range(users)]
        self.merchants = [f"M{1_000_000 + number}" for number in range(max(50, users // 20))]

    def ordinary(self, time: int) -> Movement:
        rng = self.rng
        chance = rng.random()
        kind, _, median, sigma = next(row for row in TYPES if chance < row[1])
        destination = pick(rng.random, self.merchants) if kind == "PAYMENT" else _account(self._anyone())
        return Movement(time, kind, self._anyone(), destination, round(median * exp(sigma * rng.gauss(0.0, 1.0)), 2))

    def episode(self, scenario: str, time: int) -> list[Movement]:
        """The card scenarios, as they look in mobile money."""
        rng = self.rng
        victim, mule = self._anyone(), _account(self._anyone())
        if scenario == "card_testing":
            tests = [
                Movement(time + number * 4_000, "TRANSFER", victim, mule, round(rng.uniform(1, 50), 2), scenario)
                for number in range(rng.randint(7, 12))
            ]
            return [*tests, Movement(time + 90_000, "TRANSFER", victim, mule, None, scenario)]
        if scenario == "account_takeover":
            return self._emptied(victim, mule, time, scenario)
        if scenario == "high_amounts":
            amount = round(rng.uniform(250_000, 9_000_000), 2)
            self.balances[victim] += amount
            return [Movement(time, "TRANSFER", victim, mule, amount, scenario)]
        if scenario == "compromised_merchant":
            episode = []
            for _ in range(rng.randint(2, 5)):
                victim = self._anyone()
                episode.append(Movement(time, "PAYMENT", victim, self.merchants[0], round(rng.uniform(500, 9_000), 2)))
                later = time + int(rng.uniform(0.02, 0.2) * self.span)
                episode += self._emptied(victim, mule, later, scenario)
            return episode
        if time < self.drift_at:
            return self._emptied(victim, mule, time, scenario)
        return [
            Movement(
                time + number * 7 * MINUTE, "CASH_OUT", victim, mule, round(rng.uniform(3_000, 9_500), 2), scenario
            )
            for number in range(3)
        ]

    def _emptied(self, victim: int, mule: str, time: int, scenario: str) -> list[Movement]:
        """The pair of the data set: a transfer of all there is, and the same sum taken out as cash."""
        taken = Movement(time + MINUTE, "CASH_OUT", victim, mule, None, scenario)
        return [Movement(time, "TRANSFER", victim, mule, None, scenario), taken]

    def key(self, movement: Movement) -> str:
        return _account(movement.origin)

    def message(self, movement: Movement, transaction_id: str) -> dict[str, Any]:
        before = self.balances[movement.origin]
        amount = max(before, 100.0) if movement.amount is None else movement.amount
        # The account that a transfer has emptied is not emptied again by the cash-out of the mule.
        keeps = movement.amount is None and movement.type == "TRANSFER"
        after = round(before + amount, 2) if movement.type == "CASH_IN" else max(0.0, round(before - amount, 2))
        self.balances[movement.origin] = before if keeps else max(after, 500.0)
        received = 0.0 if movement.destination.startswith("M") else amount
        return {
            "step": max(0, (movement.time - self.epoch) // HOUR),
            "type": movement.type,
            "amount": amount,
            "nameOrig": _account(movement.origin),
            "oldbalanceOrg": before,
            "newbalanceOrig": after,
            "nameDest": movement.destination,
            "oldbalanceDest": 0.0,
            "newbalanceDest": received,
            "isFraud": int(bool(movement.fraud)),
            "isFlaggedFraud": 0,
        }

    def _anyone(self) -> int:
        return int(self.rng.random() * len(self.balances))


def _account(number: int) -> str:
    return f"C{1_000_000_000 + number}"
