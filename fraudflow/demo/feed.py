"""What the demo sends: the PaySim rows in their true order, woven with simulated card traffic of the same hours."""

import threading
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

from flows.settings import Settings
from fraudflow.sending import Pace, Sender
from fraudflow.simulation.cards import CardTraffic
from fraudflow.simulation.files import HOUR, read_rows
from fraudflow.simulation.scenarios import Scenario
from fraudflow.simulation.stream import Message, Mix, Stream
from fraudflow.simulation.world import times

PAYSIM = Path(__file__).parents[2] / "data" / "paysim_excerpt.csv.gz"
FIRST_STEP, LAST_STEP = 1, 8
MINUTE = 60_000

# By turns; the change of pattern twice as often, so that there is enough of it to be noticed.
SCENARIOS = (*(scenario.value for scenario in Scenario), Scenario.concept_drift.value)

# Analysts are done this long before FRAUD_LABEL_MATURITY, after which a label would be too late.
IN_TIME = 5 * MINUTE

# format: transactions and people in eight hours, share of frauds
SIMULATED = {"card": (13_000, 2_000, 0.025), "simple": (7_000, 1_500, 0.016)}

# Analysts' tools fail too: labels that can't be used.
BAD_LABELS = (
    b'{"is_fraud":true,"source":"analyst"}',
    b"chargeback,c000017",
    b'{"transaction_id":"x","is_fraud":"maybe"}',
)


class Feed(NamedTuple):
    """Everything that is sent, in order, and how much of it are transactions rather than labels."""

    messages: list[Message]
    transactions: int
    start: int
    end: int


def weave(settings: Settings, seed: int, share: float = 1.0) -> Feed:
    """The demo's messages: the same settings and seed give the same bytes. `share`: of everything, for a short look.

    PaySim's rows keep their order and are spread over the hour that each belongs to.
    """
    start = settings.paysim_start + FIRST_STEP * HOUR
    end = settings.paysim_start + (LAST_STEP + 1) * HOUR
    messages = [
        Message(row.time or start, False, row.key, row.value) for row in read_rows(PAYSIM, settings.paysim_start)
    ]
    messages += _simulated(settings, seed, start, end)
    step = (end - start) // (len(BAD_LABELS) + 1)
    messages += [Message(start + n * step, True, b"", label) for n, label in enumerate(BAD_LABELS, 1)]
    messages.sort(key=lambda message: message.time)
    messages = messages[: int(len(messages) * share)]
    return Feed(messages, sum(not message.is_label for message in messages), start, end)


def endless(settings: Settings, seed: int, start: int) -> Iterator[Message]:
    """Simulated traffic that goes on from `start`, eight hours after eight hours, each with people of its own."""
    for turn in count(1):
        end = start + (LAST_STEP - FIRST_STEP + 1) * HOUR
        yield from sorted(_simulated(settings, seed + turn, start, end), key=lambda message: message.time)
        start = end


def _simulated(settings: Settings, seed: int, start: int, end: int) -> Iterable[Message]:
    for number, (form, (amount, users, frauds)) in enumerate(SIMULATED.items()):
        rng = Random(seed * 1_000 + number)
        traffic = CardTraffic(rng, form, users=users, start=start, span=end - start)
        mix = Mix(
            scenarios=SCENARIOS,
            fraud_share=frauds,
            late_share=0.03,
            late_by=2 * settings.allowed_lateness,
            malformed_share=0.004,
            label_delay=settings.label_maturity - IN_TIME,
            oversize=settings.max_message_bytes,
        )
        stream = Stream(traffic, rng, f"{form}-{seed}", mix)
        yield from stream.messages(times(rng, start, end, amount))
        yield from stream.remaining_labels()


class Feeder(threading.Thread):
    """Sends a feed at an even pace, and goes on with `after` when given. What it can't send ends it: `error`."""

    def __init__(
        self, sender: Sender, settings: Settings, feed: Feed, seconds: float, after: Iterator[Message] | None = None
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self.sender = sender
        self.feed = feed
        self.clock = feed.start
        self.sent = 0
        self.transactions = 0
        self.error: Exception | None = None
        self.fed = threading.Event()
        self._topics = (settings.transaction_topics[0], settings.label_topic)
        self._seconds = seconds
        self._after = after
        self._ended = threading.Event()

    def send_first(self) -> None:
        """The first message alone: when the flow has taken it, it is ready for the rest."""
        self._send(self.feed.messages[0])
        self.sender.flush()

    def end(self) -> None:
        self._ended.set()
        self.join(timeout=10)

    def run(self) -> None:
        try:
            pace = Pace(self.sender, len(self.feed.messages) / self._seconds)
            self._send_all(pace, self.feed.messages[self.sent :])
            self.sender.flush()
            self.fed.set()
            if self._after is not None and not self._ended.is_set():
                self._send_all(Pace(self.sender, pace.rate / 2), self._after)
                self.sender.flush()
        except Exception as error:  # noqa: BLE001 - told by whoever waits for the feed
            self.error = error

    def _send_all(self, pace: Pace, messages: Iterable[Message]) -> None:
        for number, message in enumerate(messages):
            if self._ended.is_set():
                return
            pace.wait(number)
            self._send(message)
            if number % 64 == 0:
                self.sender.poll()

    def _send(self, message: Message) -> None:
        self.sender.send(self._topics[message.is_label], message.key, message.value)
        self.sent += 1
        self.transactions += not message.is_label
        self.clock = message.time
