"""What every system computes: the messages, the three rules, and the alerts that must come out.

Per user: transactions within the last minute, the sum of amounts within the last hour, the different locations within
the last five minutes; each window `(t - length, t]`, the transaction itself included.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson

from benchmarks.work import transactions
from operators.times import iso

MINUTE_MS: Final = 60_000
FIVE_MINUTES_MS: Final = 300_000
HOUR_MS: Final = 3_600_000
MOST_IN_A_MINUTE: Final = 6
MOST_IN_AN_HOUR: Final = 90_000
MOST_LOCATIONS: Final = 7

RULES: Final = f"""\
[[rule]]
id = "velocity"
when = "count_1m > {MOST_IN_A_MINUTE}"

[[rule]]
id = "spent"
when = "sum_amount_1h > {MOST_IN_AN_HOUR}"

[[rule]]
id = "places"
when = "distinct_location_5m > {MOST_LOCATIONS}"
"""
"""The same for us: rules.toml."""


class Message(NamedTuple):
    """A record of the input topic, and what a system needs of it."""

    key: bytes
    value: bytes
    transaction_id: str
    user: str
    time: int
    amount: float
    location: str


def messages(events: int, users: int, seed: int) -> Iterator[Message]:
    """In order of event time: users by Zipf's law, amounts up to 1,000 in whole cents."""
    for batch in transactions(events, users, 0.0, seed):
        for t in batch:
            value = {
                "transaction_id": t.transaction_id,
                "customer_id": t.user_id,
                "amount": t.amount,
                "location": t.location,
                "timestamp": iso(t.event_time),
            }
            assert t.location is not None
            user, time = t.user_id, t.event_time
            yield Message(user.encode(), orjson.dumps(value), t.transaction_id, user, time, t.amount, t.location)


class Expected:
    """The rules of each suspicious transaction, the obvious way: message by message."""

    def __init__(self) -> None:
        self.alerts: dict[str, frozenset[str]] = {}
        self._seen: dict[str, deque[Message]] = defaultdict(deque)

    def add(self, message: Message) -> None:
        """Judge the next message."""
        seen, now = self._seen[message.user], message.time
        seen.append(message)
        while seen[0].time <= now - HOUR_MS:
            seen.popleft()
        cents = sum(round(each.amount * 100) for each in seen)
        fires = {
            "velocity": sum(each.time > now - MINUTE_MS for each in seen) > MOST_IN_A_MINUTE,
            "spent": cents > MOST_IN_AN_HOUR * 100,
            "places": len({each.location for each in seen if each.time > now - FIVE_MINUTES_MS}) > MOST_LOCATIONS,
        }
        rules = frozenset(rule for rule, fired in fires.items() if fired)
        if rules:
            self.alerts[message.transaction_id] = rules
