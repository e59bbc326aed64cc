"""Repeats of a rule for one user within its cooldown are folded into a count on the next alert."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from operators.decisions.decide import VERDICTS, Decision
from operators.decisions.state import unpacked
from operators.rules import SEVERITIES

VERSION = 1


class Quiet(msgspec.Struct, array_like=True):
    """A rule that alerted for a user: when (event time), how badly, until when it is quiet, and what it kept back."""

    since: int
    until: int
    severity: int
    verdict: int
    suppressed: int = 0


class Alert(NamedTuple):
    """A decision that is sent, and how many were kept back before it."""

    decision: Decision
    suppressed_count: int


class Cooldown:
    """The cooldowns of all users of one key group.

    Memory: an entry for each (user, rule with a cooldown) that alerted; it is dropped, at the group's next alert, once
    the newest event time is past it and it kept nothing back.
    """

    def __init__(self, snapshot: bytes | None = None) -> None:
        self.users: dict[str, dict[str, Quiet]] = {}
        self.newest = 0
        if snapshot is not None:
            _, self.newest, self.users = unpacked(
                "cooldowns", VERSION, snapshot, tuple[int, int, dict[str, dict[str, Quiet]]]
            )

    def apply(self, decisions: Sequence[Decision]) -> list[Alert]:
        """The alerts to send for these decisions, in order.

        A decision is kept back when every rule in it is within its cooldown for the user, the score alone would not
        raise it, and neither its severity nor its verdict is above that of the alert the cooldown began with.
        """
        alerts = []
        for decision in decisions:
            suppressed = self._suppressed_before(decision)
            if suppressed is not None:
                alerts.append(Alert(decision, suppressed))
        if alerts:
            self._expire()
        return alerts

    def _suppressed_before(self, decision: Decision) -> int | None:
        """How many were kept back before this alert, or None where this one is kept back too."""
        cooled = [hit for hit in decision.hits if hit.cooldown]
        if not cooled:
            return 0
        user, time = decision.transaction.user_id, decision.transaction.event_time
        severity, verdict = SEVERITIES.index(decision.severity), VERDICTS.index(decision.verdict)
        self.newest = max(self.newest, time)
        quiet = self.users.setdefault(user, {})
        repeats = [
            entry
            for hit in cooled
            if (entry := quiet.get(hit.id)) is not None
            and entry.since - hit.cooldown < time < entry.until
            and severity <= entry.severity
            and verdict <= entry.verdict
        ]
        if len(repeats) == len(decision.hits) and decision.by_score == "allow":
            repeats[0].suppressed += 1
            return None
        suppressed = sum(quiet[hit.id].suppressed for hit in cooled if hit.id in quiet)
        for hit in cooled:
            quiet[hit.id] = Quiet(time, time + hit.cooldown, severity, verdict)
        return suppressed

    def _expire(self) -> None:
        for user in [user for user, quiet in self.users.items() if all(self._done(entry) for entry in quiet.values())]:
            del self.users[user]

    def _done(self, entry: Quiet) -> bool:
        return entry.until <= self.newest and not entry.suppressed

    def snapshot(self) -> bytes:
        """Own format, versioned."""
        return msgspec.msgpack.encode((VERSION, self.newest, self.users))
