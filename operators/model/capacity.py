"""Precision at what analysts can look at: of the users with the highest scores of a day, how many had a fraud."""

from collections import OrderedDict
from collections.abc import Mapping

import msgspec

DAY = 86_400_000
DAYS = 7
"""The mean is over so many of the latest days."""
MOST_FOUND = 100_000
"""So many users who were found are remembered."""


class CapacityState(msgspec.Struct, array_like=True, frozen=True):
    """Everything `Capacity` knows: by day the highest scores of users, and those with a fraud."""

    highest: Mapping[int, Mapping[str, float]] = {}
    frauds: Mapping[int, list[str]] = {}
    found: list[str] = []
    measured: list[tuple[int, float]] = []
    ended: int = -1


class Capacity:
    """Each day (UTC, event time) analysts look at the `users` with the highest score of the day; who had a fraud that
    day was found, and is left out on later days. A day is measured when all its transactions have matured: `maturity`
    milliseconds after its end. What matures later is passed over.

    Memory: three times `users` of each day that is open, its frauds, and the users found, 100,000 at most. Only that
    many are kept of a day's highest, so where more than twice `users` of them were found before, a day has fewer.

    Source: Le Borgne, Siblini, Lebichot and Bontempi, Reproducible machine learning for credit card fraud detection:
    practical handbook, 2022, section 4.4 (card precision top-k).
    """

    def __init__(self, users: int, maturity: int, state: CapacityState | None = None) -> None:
        state = state or CapacityState()
        self._users, self._maturity = users, maturity
        self._highest = {day: dict(scores) for day, scores in state.highest.items()}
        self._frauds = {day: set(users) for day, users in state.frauds.items()}
        self._found = OrderedDict.fromkeys(state.found)
        self._measured = list(state.measured)
        self._ended = state.ended

    def add(self, user: str, score: float, is_fraud: bool, event_time: int, matured_at: int) -> None:
        """A matured example; its time of maturity measures the days that it ends."""
        self._end(matured_at)
        day = event_time // DAY
        if day <= self._ended:
            return
        highest = self._highest.setdefault(day, {})
        if score > highest.get(user, -1.0):
            highest[user] = score
            if len(highest) > 3 * self._users:
                self._highest[day] = dict(self._ranked(highest)[: 2 * self._users])
        if is_fraud:
            self._frauds.setdefault(day, set()).add(user)

    def precision(self) -> float | None:
        """The mean of the latest days that were measured."""
        return sum(share for _, share in self._measured) / len(self._measured) if self._measured else None

    def state(self) -> CapacityState:
        """For the snapshot."""
        frauds = {day: sorted(users) for day, users in self._frauds.items()}
        return CapacityState(self._highest, frauds, list(self._found), self._measured, self._ended)

    def _end(self, now: int) -> None:
        for day in sorted(day for day in self._highest if (day + 1) * DAY + self._maturity <= now):
            frauds = self._frauds.pop(day, set())
            ranked = [user for user, _ in self._ranked(self._highest.pop(day)) if user not in self._found]
            looked_at = ranked[: self._users]
            caught = [user for user in looked_at if user in frauds]
            self._found.update(dict.fromkeys(caught))
            while len(self._found) > MOST_FOUND:
                self._found.popitem(last=False)
            if looked_at:
                self._measured = [*self._measured, (day, len(caught) / self._users)][-DAYS:]
            self._ended = day

    @staticmethod
    def _ranked(highest: Mapping[str, float]) -> list[tuple[str, float]]:
        return sorted(highest.items(), key=lambda scored: (-scored[1], scored[0]))
