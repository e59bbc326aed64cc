"""One consumer for all partitions that a worker reads of a source, and what it makes of errors."""

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any, Literal, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.cadence import Cadence
from connectors.kafka import Complaints, missing_message, unavailable
from connectors.notify import notifier

log = logging.getLogger(__name__)

LostOffsets = Literal["stop", "oldest"]

POLL = 5000
"""Messages taken from the client at once."""

MOST_BUFFERED = 4 * POLL
"""No more is taken while this many wait for parts that the engine does not ask, for instance at the end of an epoch."""

SHORTEST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.010
LONGEST_CONTROL_PAUSE_S = 0.050
"""Between polls that find nothing: a twentieth of the silence so far, so that messages that come every few milliseconds
are found within one, while a source where nothing comes costs little. Rules and models may take a little longer."""

_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._FATAL)
_LOST = (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE)


class SourceError(RuntimeError):
    """A source can't go on: the message names the topic, the partition and the offset, and says what to do."""


def lost(message: str) -> SourceError:
    """The error for messages that are gone. Told at once, too: the engine of several processes loses what is raised,
    and no restart brings them back."""
    log.critical("%s", message)
    notifier().refused(message)
    return SourceError(message)


class Receiver(Protocol):
    """What the consumer gives messages to: one partition of a source."""

    topic: str
    partition: int
    received_to: int
    """The offset after the last message received."""

    def receive(self, messages: list[Message]) -> int:
        """Take messages that follow those received so far (never none); how many of them it will hand over."""

    def reached_end(self, offset: int) -> None:
        """The partition ends at `offset` for now, and all before it was received."""


class SharedConsumer:
    """Reads several partitions through one client: half the memory of one each, and equally fast.

    A poll takes whatever there is and sorts it to the receivers, each of which keeps its own offset: parts of the
    engine have their own epochs. Never blocks. Not for several threads.
    """

    def __init__(
        self,
        config: Mapping[str, str],
        *,
        group: str,
        lost_offsets: LostOffsets,
        tell_ends: bool,
        longest_pause: float,
        timeout: float,
    ) -> None:
        self._config = config
        self._commits = bool(group)
        self._lost_offsets = lost_offsets
        self._longest_pause = longest_pause
        self._timeout = timeout
        self._complaints = Complaints("kafka consumer")
        self._receivers: dict[tuple[str, int], Receiver] = {}
        self._topics: set[str] = set()
        self._committed: dict[tuple[str, int], int] = {}
        self._buffered = 0
        self._broken: SourceError | None = None
        self.closed = False
        self._due = self._last_message = monotonic()
        self.cadence = Cadence()
        """When the epochs of these receivers end."""
        settings: dict[str, Any] = {
            # The broker answers as soon as there is one message; this only bounds an answer with none.
            "fetch.wait.max.ms": 100,
            # A full queue is looked at again after this; the client's default, a second, throttles a backlog sevenfold.
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 32_768,
            **config,
            "group.id": group or "fraudflow",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": tell_ends,
            "error_cb": self._on_client_error,
            "on_commit": self._on_commit,
        }
        self._consumer = Consumer(settings)

    def offsets(self, topic: str, partition: int) -> tuple[int, int]:
        """The oldest offset that the broker still has, and the end: the offset of the next message to come."""
        try:
            answer = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self._timeout)
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.code() in _GONE:
                absent = missing_message([topic], self._config)
                raise SourceError(f"{topic}[{partition}] has vanished: {error.str()}. {absent}") from failure
            self._consumer.poll(0)  # hands over what the client has to say of its connections
            raise unavailable(self._config, self._timeout, self._complaints) from failure
        if answer is None:
            raise unavailable(self._config, self._timeout, self._complaints)
        low, high = answer
        return low, high

    def resume_at(self, topic: str, partition: int, offset: int, low: int, high: int) -> int:
        """The offset to go on from: `offset`, or what `lost_offsets` says when it is gone. Raises SourceError."""
        if low <= offset <= high:
            return offset
        place = f"{topic}[{partition}]"
        held = f"the topic now holds {low} to {high - 1}" if high > low else f"the topic is empty and goes on at {high}"
        if offset > high:
            raise lost(
                f"{place}: offset {offset} comes next, but {held}. It was made anew or cut off. To begin with it from "
                "the start, use a new recovery directory"
            )
        if self._lost_offsets == "oldest":
            log.error("%s: %d messages from offset %d on are gone, %s", place, low - offset, offset, held)
            return low
        raise lost(
            f"{place}: offset {offset} comes next, but {held}. {low - offset} messages were deleted (the topic's "
            "retention) before they were read. To go on from the oldest one that is left, set FRAUD_LOST_OFFSETS=oldest"
        )

    def add(self, receiver: Receiver) -> None:
        """Read the receiver's partition from its `received_to` on."""
        self._receivers[receiver.topic, receiver.partition] = receiver
        self._topics.add(receiver.topic)
        self._consumer.incremental_assign([TopicPartition(receiver.topic, receiver.partition, receiver.received_to)])

    def release(self, receiver: Receiver) -> None:
        """Read it no more; after the last one the client leaves the broker."""
        self._receivers.pop((receiver.topic, receiver.partition))
        if self._receivers:
            self._consumer.incremental_unassign([TopicPartition(receiver.topic, receiver.partition)])
        else:
            self.closed = True
            self._consumer.close()  # waits for commits that are under way

    def handed_over(self, messages: int) -> None:
        """A receiver has passed on this many."""
        self._buffered -= messages

    def commit(self, receiver: Receiver, offset: int) -> None:
        """Tell the broker how far this has come, for tools that show lag; nothing resumes from it. Does not wait."""
        place = receiver.topic, receiver.partition
        if not self._commits or self._committed.get(place) == offset:
            return
        self._committed[place] = offset
        try:
            self._consumer.commit(offsets=[TopicPartition(*place, offset)], asynchronous=True)
        except KafkaException as failure:
            self._complaints(failure.args[0])

    def _on_commit(self, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        if error is not None:
            self._complaints(error)

    @property
    def pause(self) -> float:
        """In how many seconds a receiver that has nothing should ask again; 0: at once."""
        return max(0.0, self._due - monotonic())

    def poll(self) -> None:
        """Take what there is, at most once per pause, and sort it to the receivers. Raises SourceError."""
        now = monotonic()
        if now < self._due or self._buffered >= MOST_BUFFERED:
            return
        messages = self._consumer.consume(POLL, 0)
        if not messages and self._broken is None:
            pause = min(max((now - self._last_message) / 20, SHORTEST_PAUSE_S), self._longest_pause)
            self._due = now + pause
            return
        self._last_message = self._due = now
        if any(map(Message.error, messages)):
            self._sort_with_errors(messages)
        else:
            self._sort(messages)
        if self._broken is not None:
            log.critical("%s", self._broken)
            raise self._broken

    def _on_client_error(self, error: KafkaError) -> None:
        # Called inside `consume`, where raising would not reach the engine.
        self._complaints(error)
        if self._broken is not None:
            return
        if error.code() in _GONE:
            self._broken = SourceError(f"{error.str()}. {missing_message(sorted(self._topics), self._config)}")
        elif error.code() in _REFUSED or error.fatal():
            self._broken = SourceError(error.str())

    def _sort_with_errors(self, messages: list[Message]) -> None:
        # An end must not overtake the messages before it, so what lies between two errors is sorted by itself.
        good: list[Message] = []
        for message in messages:
            if message.error() is None:
                good.append(message)
            else:
                self._sort(good)
                good = []
                self._on_error(message)
        self._sort(good)

    def _sort(self, messages: list[Message]) -> None:
        if not messages:
            return
        partitions: list[int | None] = list(map(Message.partition, messages))
        if len(self._topics) == 1 and len(set(partitions)) == 1:
            self._give(messages)
            return
        sorted_out: dict[tuple[str | None, int | None], list[Message]] = {}
        for topic, partition, message in zip(map(Message.topic, messages), partitions, messages, strict=True):
            sorted_out.setdefault((topic, partition), []).append(message)
        for group in sorted_out.values():
            self._give(group)

    def _give(self, messages: list[Message]) -> None:
        receiver = self._receiver_of(messages[0])
        if receiver is not None:
            self._buffered += receiver.receive(messages)

    def _receiver_of(self, message: Message) -> Receiver | None:
        return self._receivers.get((message.topic() or "", message.partition() or 0))

    def _on_error(self, message: Message) -> None:
        error = message.error()
        receiver = self._receiver_of(message)
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            if receiver is not None:
                receiver.reached_end(message.offset() or 0)
        elif error.code() in _LOST and receiver is not None:
            self._on_lost(receiver)
        else:
            self._on_client_error(error)  # the client tries again by itself, unless that marks it as broken

    def _on_lost(self, receiver: Receiver) -> None:
        place = receiver.topic, receiver.partition
        receiver.received_to = self.resume_at(*place, receiver.received_to, *self.offsets(*place))
        self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.incremental_assign([TopicPartition(*place, receiver.received_to)])
