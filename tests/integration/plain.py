"""What the shipped rules must give, computed the obvious way: every message against all earlier ones of its user."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

PAYSIM_START = datetime(2024, 12, 1, tzinfo=UTC)
MINUTE, FIVE_MINUTES = timedelta(minutes=1), timedelta(minutes=5)


def expected_rules(messages: Iterable[Mapping[str, Any]]) -> list[set[str]]:
    """The rules that fire at each message, which come in the order in which each user's are read."""
    seen: dict[str, list[tuple[datetime, str | None]]] = defaultdict(list)
    return [_rules(message, seen) for message in messages]


def _rules(message: Mapping[str, Any], seen: dict[str, list[tuple[datetime, str | None]]]) -> set[str]:
    paysim = "nameOrig" in message
    simple = "userId" in message
    user = message["nameOrig"] if paysim else message["userId"] if simple else message["customer_id"]
    if paysim:
        time = PAYSIM_START + timedelta(hours=message["step"])
    else:
        time = datetime.fromisoformat(message["timestamp"])
    history = seen[str(user)]
    history.append((time, message.get("location")))
    minute = sum(time - MINUTE < then <= time for then, _ in history)
    by_clock = time.replace(second=0, microsecond=0)
    tumbling = sum(by_clock <= then <= time for then, _ in history)
    locations = {place for then, place in history if place and time - FIVE_MINUTES < then <= time}
    amount = float(message["amount"])
    fired = {
        "high_amount": simple and amount > 10_000,
        "high_card_amount": not paysim and not simple and amount > 1_000,
        "large_transfer": paysim and message["type"] == "TRANSFER" and amount > 200_000,
        "velocity": not paysim and minute > 3,
        "busy_minute": not paysim and tumbling > 10,
        "several_locations": len(locations) > 1,
    }
    return {rule for rule, fires in fired.items() if fires}
