"""Half a year of card payments with three kinds of fraud, to judge a model by.

The process is that of Le Borgne et al., Reproducible machine learning for credit card fraud detection, 2022, chapter 3:
customers and terminals on a square, each customer with a mean amount and a daily rate of payments at terminals near by;
fraud is what is above 220, what is paid at a terminal while it is compromised (2 new ones each day, for 28 days), and a
third of a compromised customer's payments (3 new ones each day, for 14 days), whose amounts are five times as high.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

DAY_S = 86_400
START = np.datetime64("2018-04-01T00:00:00", "s")
MUCH = 220.0
TERMINAL_DAYS, CUSTOMER_DAYS = 28, 14


class World(NamedTuple):
    """How many there are. `reach` is how far customers go, on a square of 100 by 100."""

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    reach: float = 5.0
    bad_terminals_a_day: int = 2
    bad_customers_a_day: int = 3


def card_payments(world: World, seed: int) -> pa.Table:
    """The payments in the order of their times, in the `card` format with `is_fraud`; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    second, customer, terminal, amount = _payments(world, rng)
    day = second // DAY_S
    fraud = amount > MUCH
    for first in range(world.days):
        bad = rng.choice(world.terminals, min(world.bad_terminals_a_day, world.terminals), replace=False)
        fraud |= np.isin(terminal, bad) & (day >= first) & (day < first + TERMINAL_DAYS)
        for victim in rng.choice(world.customers, min(world.bad_customers_a_day, world.customers), replace=False):
            own = np.flatnonzero((customer == victim) & (day >= first) & (day < first + CUSTOMER_DAYS))
            taken = rng.choice(own, len(own) // 3, replace=False)
            amount[taken] *= 5.0
            fraud[taken] = True
    return pa.table(
        {
            "transaction_id": [f"t{number}" for number in range(len(second))],
            "customer_id": [f"c{number}" for number in customer.tolist()],
            "merchant": [f"m{number}" for number in terminal.tolist()],
            "amount": np.round(amount, 2),
            "timestamp": pa.array(START + second.astype("timedelta64[s]"), pa.timestamp("s", "UTC")),
            "is_fraud": fraud,
        }
    )


def _payments(world: World, rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Second, customer, terminal and amount of every payment, all of them legitimate yet, in the order of time."""
    homes = rng.uniform(0, 100, (world.customers, 2))
    places = rng.uniform(0, 100, (world.terminals, 2))
    mean, rate = rng.uniform(5, 100, world.customers), rng.uniform(0, 4, world.customers)
    parts = []
    for customer in range(world.customers):
        near = np.flatnonzero(((places - homes[customer]) ** 2).sum(axis=1) < world.reach**2)
        if not len(near):
            continue
        day = np.repeat(np.arange(world.days), rng.poisson(rate[customer], world.days))
        of_day = rng.normal(DAY_S / 2, 20_000, len(day)).astype(np.int64)  # most around noon
        kept = (of_day > 0) & (of_day < DAY_S)
        amount = rng.normal(mean[customer], mean[customer] / 2, len(day))
        amount = np.where(amount < 0, rng.uniform(0, 2 * mean[customer], len(day)), amount)
        second = (day * DAY_S + of_day)[kept]
        parts.append((second, np.full(len(second), customer), rng.choice(near, len(second)), amount[kept]))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    second, customers, terminals, amounts = (column[order] for column in columns)
    return second, customers, terminals, amounts
