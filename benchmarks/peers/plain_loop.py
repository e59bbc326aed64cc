"""The floor and what one would write without a framework: confluent-kafka and orjson in one loop.

    python -m benchmarks.peers.plain_loop floor|windows BOOTSTRAP INPUT OUTPUT

`floor` only parses, and tells of each hundredth message. `windows` keeps the three windows by hand and sends alerts. No
state survives it.
"""

import sys
from collections import deque
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer

from benchmarks.peers.topology import (
    FIVE_MINUTES_MS,
    HOUR_MS,
    MINUTE_MS,
    MOST_IN_A_MINUTE,
    MOST_IN_AN_HOUR,
    MOST_LOCATIONS,
)


class User:
    """The trailing hour of one user, and where the shorter windows begin."""

    __slots__ = ("hour", "minute", "places", "recent", "spent")

    def __init__(self) -> None:
        self.hour: deque[tuple[int, int]] = deque()
        self.minute: deque[int] = deque()
        self.recent: deque[tuple[int, str]] = deque()
        self.places: dict[str, int] = {}
        self.spent = 0

    def enter(self, now: int, cents: int, location: str) -> list[str]:
        """The rules that fire at this transaction."""
        hour, minute, recent, places = self.hour, self.minute, self.recent, self.places
        hour.append((now, cents))
        self.spent += cents
        while hour[0][0] <= now - HOUR_MS:
            self.spent -= hour.popleft()[1]
        minute.append(now)
        while minute[0] <= now - MINUTE_MS:
            minute.popleft()
        recent.append((now, location))
        places[location] = places.get(location, 0) + 1
        while recent[0][0] <= now - FIVE_MINUTES_MS:
            gone = recent.popleft()[1]
            places[gone] -= 1
            if not places[gone]:
                del places[gone]
        rules = []
        if len(minute) > MOST_IN_A_MINUTE:
            rules.append("velocity")
        if self.spent > MOST_IN_AN_HOUR * 100:
            rules.append("spent")
        if len(places) > MOST_LOCATIONS:
            rules.append("places")
        return rules


def milliseconds(timestamp: str) -> int:
    """Of an ISO timestamp."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


def alerts_of(users: dict[str, User], message: dict[str, Any]) -> list[str]:
    """The rules that fire at a message."""
    user = users.get(message["customer_id"])
    if user is None:
        user = users[message["customer_id"]] = User()
    return user.enter(milliseconds(message["timestamp"]), round(message["amount"] * 100), message["location"])


def main(work: str, bootstrap: str, source: str, target: str) -> None:
    """Until it is ended."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"plain-{target}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([source])
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    users: dict[str, User] = {}
    count = 0
    while True:
        for record in consumer.consume(1000, 0.2):
            message = orjson.loads(record.value() or b"")
            count += 1
            if work == "floor":
                rules = ["read"] if count % 100 == 0 else []
            else:
                rules = alerts_of(users, message)
            if rules:
                alert = {"transaction_id": message["transaction_id"], "rules": rules}
                producer.produce(target, orjson.dumps(alert), message["customer_id"])
        producer.poll(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
