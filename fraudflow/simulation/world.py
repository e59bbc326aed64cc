"""The people and shops that simulated card traffic comes from: where they are, what they buy, and at what hours."""

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypeVar

HOUR = 3_600_000
T = TypeVar("T")


class City(NamedTuple):
    """Where people live and shops are; `utc_offset` in hours (winter)."""

    name: str
    country: str
    latitude: float
    longitude: float
    currency: str
    utc_offset: int


class Merchant(NamedTuple):
    """A shop. `city` is an index into `CITIES`, None for one on the internet; amounts are log-normal."""

    merchant_id: str
    category: str
    city: int | None
    median: float
    sigma: float


class User(NamedTuple):
    """A card holder. `habits` are the merchants that most purchases go to; `spending` scales every amount."""

    user_id: str
    city: int
    habits: tuple[Merchant, ...]
    spending: float


class Purchase(NamedTuple):
    """What was bought, before it is written in one of the formats. `fraud` names its scenario, empty for none."""

    time: int
    user: User
    merchant: Merchant
    amount: float
    city: int
    fraud: str = ""


CITIES = (
    City("Paris", "FR", 48.857, 2.352, "EUR", 1),
    City("Lyon", "FR", 45.764, 4.836, "EUR", 1),
    City("Berlin", "DE", 52.520, 13.405, "EUR", 1),
    City("Munich", "DE", 48.137, 11.575, "EUR", 1),
    City("Madrid", "ES", 40.417, -3.704, "EUR", 1),
    City("Rome", "IT", 41.903, 12.496, "EUR", 1),
    City("Amsterdam", "NL", 52.368, 4.904, "EUR", 1),
    City("Vienna", "AT", 48.208, 16.373, "EUR", 1),
    City("Lisbon", "PT", 38.722, -9.139, "EUR", 0),
    City("Dublin", "IE", 53.350, -6.260, "EUR", 0),
    City("London", "GB", 51.507, -0.128, "GBP", 0),
    City("Manchester", "GB", 53.481, -2.242, "GBP", 0),
    City("New York", "US", 40.713, -74.006, "USD", -5),
    City("Chicago", "US", 41.878, -87.630, "USD", -6),
    City("Los Angeles", "US", 34.052, -118.244, "USD", -8),
    City("Toronto", "CA", 43.653, -79.383, "CAD", -5),
    City("Singapore", "SG", 1.352, 103.820, "SGD", 8),
    City("Sydney", "AU", -33.869, 151.209, "AUD", 11),
)

# category: median amount, sigma of its logarithm, share of the shops, share of them on the internet
CATEGORIES: dict[str, tuple[float, float, float, float]] = {
    "grocery": (28.0, 0.6, 0.28, 0.05),
    "restaurant": (24.0, 0.6, 0.20, 0.0),
    "transport": (9.0, 0.6, 0.10, 0.2),
    "fuel": (48.0, 0.35, 0.10, 0.0),
    "clothing": (55.0, 0.7, 0.10, 0.4),
    "pharmacy": (16.0, 0.6, 0.07, 0.1),
    "digital_goods": (14.0, 0.7, 0.05, 1.0),
    "electronics": (140.0, 0.8, 0.04, 0.5),
    "travel": (210.0, 0.8, 0.03, 0.7),
    "jewellery": (160.0, 0.8, 0.015, 0.2),
    "gift_cards": (40.0, 0.4, 0.015, 0.8),
}

# How much is bought in each hour of the local day.
DAY = (4, 2, 1, 1, 1, 3, 10, 25, 45, 55, 60, 70, 90, 80, 65, 65, 75, 95, 100, 85, 60, 40, 22, 10)
BUSIEST = max(DAY)


class World:
    """A fixed population, made from `rng` alone: `users` card holders and their `merchants`.

    About 400 bytes a user. Nothing here changes once it is made.
    """

    def __init__(self, rng: Random, users: int, merchants: int = 0, prefix: str = "u") -> None:
        self.prefix = prefix
        self.merchants = _merchants(rng, merchants or max(200, min(users // 5, 5_000)))
        self.by_category: dict[str, list[Merchant]] = {category: [] for category in CATEGORIES}
        near: list[list[Merchant]] = [[] for _ in CITIES]
        online: list[Merchant] = []
        for merchant in self.merchants:
            self.by_category[merchant.category].append(merchant)
            (online if merchant.city is None else near[merchant.city]).append(merchant)
        self.near = near
        self.online = online
        self.users = [self._user(rng, number) for number in range(users)]

    def _user(self, rng: Random, number: int) -> User:
        random = rng.random
        # Europe's cities come first and are the likelier homes.
        city = int(random() ** 1.6 * len(CITIES))
        shops = self.near[city] or self.online
        habits = tuple(pick(random, shops if random() < 0.75 else self.online) for _ in range(6))
        return User(f"{self.prefix}{number:06d}", city, habits, math.exp(rng.gauss(0.0, 0.4)))

    def awake_user(self, rng: Random, time: int) -> User:
        """Someone for whom buying at this time is likely: one draw in three follows no clock."""
        random = rng.random
        hour = time // HOUR
        for _ in range(3):
            user = pick(random, self.users)
            if random() * BUSIEST <= DAY[(hour + CITIES[user.city].utc_offset) % 24]:
                return user
        return user

    def ordinary(self, rng: Random, time: int, user: User | None = None) -> Purchase:
        """A purchase as people make them: mostly by habit, mostly at home, a few on a journey."""
        random = rng.random
        who = user or self.awake_user(rng, time)
        city = who.city
        chance = random()
        if chance < 0.85:
            merchant = pick(random, who.habits)
        elif chance < 0.985:
            merchant = pick(random, self.near[city] if random() < 0.7 and self.near[city] else self.online)
        else:
            city = int(random() * len(CITIES))
            merchant = pick(random, self.near[city] or self.online)
        return Purchase(time, who, merchant, self.amount(rng, merchant, who.spending), city)

    def amount(self, rng: Random, merchant: Merchant, spending: float = 1.0) -> float:
        """A log-normal amount as this shop has them, at least 0.50, to the cent."""
        return max(0.5, round(merchant.median * spending * math.exp(merchant.sigma * rng.gauss(0.0, 1.0)), 2))

    def merchant_of(self, rng: Random, *categories: str) -> Merchant:
        """Any shop of one of these categories."""
        for category in categories:
            if self.by_category[category]:
                return pick(rng.random, self.by_category[category])
        return pick(rng.random, self.merchants)

    def far_city(self, rng: Random, home: int, kilometres: float = 3_000.0) -> int:
        """A city at least so far from `home`."""
        far = [index for index in range(len(CITIES)) if distance(CITIES[index], CITIES[home]) >= kilometres]
        return pick(rng.random, far)


def pick(random: Callable[[], float], items: Sequence[T]) -> T:
    """One of `items`: a third of what `Random.choice` costs."""
    return items[int(random() * len(items))]


def distance(here: City, there: City) -> float:
    """Kilometres along the great circle (haversine)."""
    lat1, lat2 = math.radians(here.latitude), math.radians(there.latitude)
    half = math.radians(there.longitude - here.longitude) / 2
    a = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half) ** 2
    return 12_742.0 * math.asin(math.sqrt(a))


def times(rng: Random, start: int, end: int, count: int) -> list[int]:
    """`count` ascending times in [start, end), dense where the population as a whole buys much."""
    weights = [sum(DAY[(hour + city.utc_offset) % 24] for city in CITIES) for hour in range(24)]
    edges = list(range(start, end, HOUR // 4)) or [start]
    shares = list(accumulate(weights[edge // HOUR % 24] for edge in edges))
    drawn = []
    for _ in range(count):
        edge = edges[min(bisect(shares, rng.random() * shares[-1]), len(edges) - 1)]
        drawn.append(edge + int(rng.random() * min(HOUR // 4, end - edge)))
    return sorted(drawn)


def _merchants(rng: Random, count: int) -> list[Merchant]:
    merchants: list[Merchant] = []
    for category, (median, sigma, share, online) in CATEGORIES.items():
        # At least four of each, so that every category is met everywhere.
        for _ in range(max(4, round(share * count))):
            city = None if rng.random() < online else int(rng.random() ** 1.3 * len(CITIES))
            scale = math.exp(rng.gauss(0.0, 0.25))
            merchants.append(Merchant(f"m{len(merchants):05d}", category, city, median * scale, sigma))
    return merchants
