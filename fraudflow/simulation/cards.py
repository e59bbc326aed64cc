"""Card traffic: purchases of the simulated world, written in the `card` or the `simple` format."""

from random import Random
from typing import Any

from fraudflow.simulation.scenarios import SCENARIOS, Setting
from fraudflow.simulation.world import CITIES, Purchase, World
from operators.times import iso

# The amount above which the shipped rule of the format fires.
HIGH = {"card": 1_000.0, "simple": 10_000.0}


class CardTraffic:
    """Ordinary purchases and fraud episodes of one world; labels come on a topic of their own."""

    labels_inside = False

    def __init__(
        self, rng: Random, form: str, *, users: int, start: int, span: int, drift_at: int | None = None
    ) -> None:
        self.form = form
        # Two formats are two producers, whose users are not the same people.
        self.world = World(rng, users, prefix="c" if form == "card" else "u")
        drift = start + span // 2 if drift_at is None else drift_at
        leaking = self.world.merchant_of(rng, "restaurant", "grocery")
        self.setting = Setting(self.world, start, span, drift, HIGH[form], leaking)
        self.rng = rng

    def ordinary(self, time: int) -> Purchase:
        return self.world.ordinary(self.rng, time)

    def episode(self, scenario: str, time: int) -> list[Purchase]:
        return SCENARIOS[scenario](self.setting, self.rng, time)

    def key(self, purchase: Purchase) -> str:
        return purchase.user.user_id

    def message(self, purchase: Purchase, transaction_id: str) -> dict[str, Any]:
        """The message as a payment system would send it; the fraud in it does not show."""
        city = CITIES[purchase.city]
        if self.form == "simple":
            return self._simple(purchase, transaction_id)
        return {
            "transaction_id": transaction_id,
            "customer_id": purchase.user.user_id,
            "amount": purchase.amount,
            "currency": city.currency,
            "merchant": purchase.merchant.merchant_id,
            "category": purchase.merchant.category,
            "country": city.country,
            "location": city.name,
            "timestamp": iso(purchase.time),
            "latitude": city.latitude,
            "longitude": city.longitude,
        }

    def _simple(self, purchase: Purchase, transaction_id: str) -> dict[str, Any]:
        """Every variation that producers are known for: epochs, numbers as texts, optional fields left out."""
        city = CITIES[purchase.city]
        message: dict[str, Any] = {
            "userId": purchase.user.user_id,
            "amount": purchase.amount,
            "timestamp": iso(purchase.time),
            "transactionId": transaction_id,
            "location": city.name,
        }
        way = purchase.time % 8
        if way < 4:
            message["merchant"] = purchase.merchant.merchant_id
            message["category"] = purchase.merchant.category
            message["country"] = city.country
            message["currency"] = city.currency
        elif way == 4:
            message["timestamp"] = purchase.time
        elif way == 5:
            message["amount"] = str(purchase.amount)
        return message
