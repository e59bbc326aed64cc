"""Frauds as they happen to card holders. An episode is what one fraudster does, and the ordinary purchases around."""

from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import NamedTuple

from fraudflow.simulation.world import Merchant, Purchase, World, pick

SECOND = 1_000
MINUTE = 60 * SECOND


class Scenario(StrEnum):
    """The known fraud patterns that traffic can hold."""

    card_testing = "card_testing"
    account_takeover = "account_takeover"
    high_amounts = "high_amounts"
    compromised_merchant = "compromised_merchant"
    concept_drift = "concept_drift"


class Setting(NamedTuple):
    """What the scenarios of one run have in common.

    `span`: milliseconds that the run is long, `drift_at`: event time at which the fraud pattern changes, `high`:
    the amount that nobody should spend at once, `compromised`: the shop whose cards leak.
    """

    world: World
    start: int
    span: int
    drift_at: int
    high: float
    compromised: Merchant


Episode = Callable[[Setting, Random, int], list[Purchase]]


def card_testing(setting: Setting, rng: Random, time: int) -> list[Purchase]:
    """A stolen card is tried with many small amounts within a minute, then used for a large one."""
    world = setting.world
    victim = pick(rng.random, world.users)
    shop = world.merchant_of(rng, "digital_goods")
    episode = []
    for _ in range(rng.randint(7, 13)):
        amount = round(rng.uniform(0.5, 4.5), 2)
        episode.append(Purchase(time, victim, shop, amount, victim.city, "card_testing"))
        time += int(rng.uniform(1.5, 5.0) * SECOND)
    time += int(rng.uniform(5, 40) * SECOND)
    shop = world.merchant_of(rng, *rng.sample(("electronics", "jewellery", "travel"), 1))
    episode.append(Purchase(time, victim, shop, round(rng.uniform(400, 1_900), 2), victim.city, "card_testing"))
    return episode


def account_takeover(setting: Setting, rng: Random, time: int) -> list[Purchase]:
    """The owner buys at home; minutes later the card buys thousands of kilometres away."""
    world = setting.world
    victim = pick(rng.random, world.users)
    episode = [Purchase(time, victim, victim.habits[0], world.amount(rng, victim.habits[0]), victim.city)]
    city = world.far_city(rng, victim.city)
    for _ in range(rng.randint(2, 4)):
        time += int(rng.uniform(0.5, 1.6) * MINUTE)
        shop = _shop(setting, rng, city, "electronics", "clothing", "jewellery")
        episode.append(Purchase(time, victim, shop, _spent(rng, 260, 0.7), city, "account_takeover"))
    return episode


def high_amounts(setting: Setting, rng: Random, time: int) -> list[Purchase]:
    """One or two purchases of more than anyone spends at once."""
    victim = pick(rng.random, setting.world.users)
    episode = []
    for _ in range(rng.randint(1, 2)):
        shop = setting.world.merchant_of(rng, *rng.sample(("jewellery", "electronics", "travel"), 1))
        amount = round(setting.high * rng.uniform(1.02, 4.0), 2)
        episode.append(Purchase(time, victim, shop, amount, victim.city, "high_amounts"))
        time += int(rng.uniform(4, 30) * MINUTE)
    return episode


def compromised_merchant(setting: Setting, rng: Random, time: int) -> list[Purchase]:
    """One shop leaks cards: people pay there as ever, and some while later their cards buy what sells on easily.

    No amount stands out and nothing is fast: no rule of thumb sees it, a model that learns from labels may.
    """
    world = setting.world
    shop = setting.compromised
    episode = []
    for _ in range(rng.randint(3, 6)):
        victim = pick(rng.random, world.users)
        paid = time + int(rng.random() * 0.02 * setting.span)
        episode.append(Purchase(paid, victim, shop, world.amount(rng, shop), victim.city))
        stolen = paid + int(rng.uniform(0.02, 0.15) * setting.span)
        for _ in range(rng.randint(1, 2)):
            fence = world.merchant_of(rng, "gift_cards" if rng.random() < 0.7 else "digital_goods")
            amount = _spent(rng, 170, 0.5)
            episode.append(Purchase(stolen, victim, fence, amount, victim.city, "compromised_merchant"))
            stolen += int(rng.uniform(2, 9) * MINUTE)
    return episode


def concept_drift(setting: Setting, rng: Random, time: int) -> list[Purchase]:
    """Until `drift_at` fraudsters buy electronics abroad; from then on fuel and transport at home, in small amounts."""
    world = setting.world
    victim = pick(rng.random, world.users)
    episode = []
    changed = time >= setting.drift_at
    city = victim.city if changed else world.far_city(rng, victim.city, 800.0)
    # What is new works until it is noticed: more of it from each card.
    for _ in range(rng.randint(4, 6) if changed else rng.randint(2, 3)):
        if changed:
            shop, amount = world.merchant_of(rng, "transport" if rng.random() < 0.5 else "fuel"), _spent(rng, 60, 0.3)
        else:
            shop, amount = _shop(setting, rng, city, "electronics"), _spent(rng, 420, 0.4)
        episode.append(Purchase(time, victim, shop, amount, city, "concept_drift"))
        time += int(rng.uniform(6, 15) * MINUTE)
    return episode


SCENARIOS: dict[str, Episode] = {
    "card_testing": card_testing,
    "account_takeover": account_takeover,
    "high_amounts": high_amounts,
    "compromised_merchant": compromised_merchant,
    "concept_drift": concept_drift,
}


def _shop(setting: Setting, rng: Random, city: int, *categories: str) -> Merchant:
    """A shop of one of the categories in that city, or any such shop where the city has none."""
    there = [shop for shop in setting.world.near[city] if shop.category in categories]
    return pick(rng.random, there) if there else setting.world.merchant_of(rng, *categories)


def _spent(rng: Random, median: float, sigma: float) -> float:
    return round(median * rng.lognormvariate(0.0, sigma), 2)
