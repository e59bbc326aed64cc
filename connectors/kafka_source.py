"""Messages out of Kafka as batches of raw bytes, from exact offsets.

What it does on error: a topic that is missing or vanishes, offsets that are gone (retention) or beyond the end (a topic
made anew) and refused permission raise and so stop the flow, with what to do. A broker that is away is waited for, with
the reason in the log; only at the start is that an error. Bytes are never looked at.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from threading import get_ident
from time import time_ns
from typing import Literal, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Message

from connectors.cadence import awake_at
from connectors.drain import Drain
from connectors.kafka import (
    TIMEOUT_S,
    Complaints,
    TopicProblem,
    admin_client,
    cluster_metadata,
    missing,
    missing_message,
)
from connectors.kafka_consumer import LONGEST_CONTROL_PAUSE_S, LONGEST_PAUSE_S, LostOffsets, SharedConsumer
from connectors.notify import notifier

ITEM = 500
"""Messages in a batch at most: larger ones fall out of the processor's cache (3.2 µs an event at 500, 3.6 at 2000)."""

ITEMS_A_POLL = 10
"""Batches a part hands over at once: with fewer, processes that exchange data wait for each other's epochs."""


class RawBatch(NamedTuple):
    """Messages of one partition as they came, in order of their offsets. Timestamps are the broker's, in ms UTC."""

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


def raw_batch(topic: str, partition: int, messages: list[Message]) -> RawBatch:
    """The batch of `messages`, which are of one partition, in order, and not none."""
    now = time_ns() // 1_000_000
    offsets: Sequence[int] = range(messages[0].offset() or 0, (messages[-1].offset() or 0) + 1)
    if len(offsets) != len(messages):  # gaps: a compacted topic, or transactions
        offsets = [message.offset() or 0 for message in messages]
    return RawBatch(
        topic,
        partition,
        offsets,
        [min(timestamp, now) for _, timestamp in map(Message.timestamp, messages)],
        list(map(Message.key, messages)),
        list(map(Message.value, messages)),
    )


class _Part(StatefulSourcePartition[RawBatch, int]):
    """One partition: what the shared consumer has received for it, handed over as the engine asks.

    `position`, the snapshot, is the offset of the next message to hand over; what was received beyond it is read again
    after a restart. `end` is where the partition ended when the part was built.
    """

    def __init__(
        self, topic: str, partition: int, begin: int, end: int, consumer: SharedConsumer, drain: Drain
    ) -> None:
        self.topic, self.partition = topic, partition
        self.position = self.received_to = begin
        self._end = end
        self._consumer = consumer
        self._drain = drain
        self._ready: deque[RawBatch] = deque()
        self._previous: int | None = None
        consumer.add(self)

    def receive(self, messages: list[Message]) -> int:
        """Take messages that follow those received so far; how many of them it will hand over."""
        for start in range(0, len(messages), ITEM):
            self._ready.append(raw_batch(self.topic, self.partition, messages[start : start + ITEM]))
        self.received_to = (messages[-1].offset() or 0) + 1
        return len(messages)

    def reached_end(self, offset: int) -> None:
        """Nothing is left before `offset`: the last ones may be marks of transactions, which are no messages."""
        self.received_to = max(self.received_to, offset)

    def _take(self) -> list[RawBatch]:
        ready = self._ready
        if not ready:
            self._consumer.poll()
        batches = [ready.popleft() for _ in range(min(len(ready), ITEMS_A_POLL))]
        if batches:
            self._consumer.handed_over(sum(len(batch.values) for batch in batches))
        self.position = ready[0].offsets[0] if ready else self.received_to
        return batches

    @property
    def _has_read_what_there_was(self) -> bool:
        return self.position >= self._end

    def next_batch(self) -> list[RawBatch]:
        """Up to ten batches, or none. StopIteration at the end."""
        self._consumer.cadence.asked()
        return self._next()

    @abstractmethod
    def _next(self) -> list[RawBatch]: ...

    def next_awake(self) -> datetime | None:
        """With the consumer, which sleeps longer the longer it finds nothing, but in step with the epochs of others."""
        return awake_at(self._consumer.cadence.awake(0.0 if self._ready else self._consumer.pause))

    def snapshot(self) -> int:
        """The next offset. The broker is told that of the epoch before, which is on disk by now."""
        self._consumer.cadence.ended()
        notifier().epoch()
        self._drain.end_with_parent()
        if self._previous is not None:
            self._consumer.commit(self, self._previous)
        self._previous = self.position
        return self.position

    def close(self) -> None:
        """The broker is told the last snapshot, which at a good end is where the part has ended."""
        if self._previous is not None:
            self._consumer.commit(self, self._previous)
        self._consumer.release(self)


class _MainPart(_Part):
    """Ends on a drain, or with `stop_at_end` where the partition ended at the start. Waits for what is read first."""

    def __init__(
        self,
        topic: str,
        partition: int,
        begin: int,
        end: int,
        consumer: SharedConsumer,
        drain: Drain,
        *,
        stop_at_end: bool,
    ) -> None:
        super().__init__(topic, partition, begin, end, consumer, drain)
        self._stop_at_end = stop_at_end
        self._begun = False
        drain.main_opened()

    def receive(self, messages: list[Message]) -> int:
        """Take messages, but none that came after the end at which this part stops: those are for the next run."""
        if not self._stop_at_end or (messages[-1].offset() or 0) < self._end:
            return super().receive(messages)
        wanted = [message for message in messages if (message.offset() or 0) < self._end]
        taken = super().receive(wanted) if wanted else 0
        self.received_to = self._end
        return taken

    def reached_end(self, offset: int) -> None:
        """As for any part; beyond its own end nothing counts as received."""
        super().reached_end(min(offset, self._end) if self._stop_at_end else offset)

    def _next(self) -> list[RawBatch]:
        if self._drain.requested or (self._stop_at_end and self._has_read_what_there_was):
            self._drain.main_ended()
            raise StopIteration
        if not self._begun:
            if self._drain.mains_must_wait:
                return []
            self._begun = True
            notifier().ready()
        return self._take()


class _ControlPart(_Part):
    """Ends on a drain, or with `stop_at_end` when the main parts have, having read what its partition held."""

    def __init__(
        self,
        topic: str,
        partition: int,
        begin: int,
        end: int,
        consumer: SharedConsumer,
        drain: Drain,
        *,
        stop_at_end: bool,
        read_first: bool,
    ) -> None:
        super().__init__(topic, partition, begin, end, consumer, drain)
        self._stop_at_end = stop_at_end
        self._holds_mains = read_first
        if read_first:
            drain.first_opened()

    def _next(self) -> list[RawBatch]:
        over = self._stop_at_end and self._has_read_what_there_was and not self._ready
        if self._drain.requested or (over and self._drain.mains_have_ended):
            raise StopIteration
        # Only at the next call: by then the batches of this one have left the source.
        if self._holds_mains and self._has_read_what_there_was:
            self._holds_mains = False
            self._drain.first_done()
        return self._take()


class KafkaSource(FixedPartitionedSource[RawBatch, int]):
    """Reads every partition of `topics`, one part `topic/partition` each; a snapshot is the next offset.

    Without a snapshot a part begins at `start_from`, made an offset at once so that a restart has no gap; a partition
    that was added to a topic of `known_parts` (those that have a snapshot) begins at its oldest message. With
    `stop_at_end` it ends where the partition ended at the start. A `control` source (rules, models, labels) does not
    keep the flow alive: with `stop_at_end` it ends after the main parts of its process have; with `read_first` these
    wait until it has handed out what its topics held at the start. A `group` only lets lag tools see the progress.
    What was read is read again after a crash, from the last snapshot on: each message once, in a part's order.
    """

    def __init__(
        self,
        config: Mapping[str, str],
        topics: Sequence[str],
        *,
        drain: Drain,
        start_from: Literal["earliest", "latest"] = "earliest",
        stop_at_end: bool = False,
        control: bool = False,
        read_first: bool = False,
        group: str = "",
        lost_offsets: LostOffsets = "stop",
        known_parts: Iterable[str] = (),
        timeout: float = TIMEOUT_S,
    ) -> None:
        self._config = config
        self._topics = tuple(dict.fromkeys(topics))
        self._drain = drain
        self._start_from = start_from
        self._stop_at_end = stop_at_end
        self._control = control
        self._read_first = read_first
        self._group = group
        self._lost_offsets: LostOffsets = lost_offsets
        self._known_topics = {part.rpartition("/")[0] for part in known_parts}
        self._timeout = timeout
        # By thread: workers of one process are threads, and a client is not for several of them.
        self._workers: dict[int, _Worker] = {}
        if read_first:
            drain.expect_first()

    def list_parts(self) -> list[str]:
        """Every partition there is; the engine spreads them over the workers. Raises TopicProblem, KafkaUnavailable.

        All that takes time is done here, before the engine builds any part: parts that are built some 100 ms apart end
        their epochs so, and the early ones spend that time of every epoch in a busy loop.
        """
        complaints = Complaints("kafka admin")
        metadata = cluster_metadata(admin_client(self._config, complaints), self._config, complaints, self._timeout)
        absent = missing(self._topics, metadata)
        if absent:
            raise TopicProblem(missing_message(absent, self._config))
        consumer = SharedConsumer(
            self._config,
            group=self._group,
            lost_offsets=self._lost_offsets,
            tell_ends=self._stop_at_end or self._control,
            longest_pause=LONGEST_CONTROL_PAUSE_S if self._control else LONGEST_PAUSE_S,
            timeout=self._timeout,
        )
        places = [(topic, number) for topic in self._topics for number in metadata.topics[topic].partitions]
        held = {part_name(*place): consumer.offsets(*place) for place in places}
        self._workers[get_ident()] = _Worker(consumer, held)
        if not self._control:
            notifier().reached()
        return list(held)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Part:
        """Begin at the snapshot, or at the start. Raises SourceError where that offset is gone."""
        consumer, held = self._workers[get_ident()]
        low, high = held[for_part]
        topic, _, number = for_part.rpartition("/")
        place = topic, int(number)
        if resume_state is not None:
            begin = consumer.resume_at(*place, resume_state, low, high)
        else:
            begin = low if self._start_from == "earliest" or topic in self._known_topics else high
        if self._control:
            return _ControlPart(
                *place,
                begin,
                high,
                consumer,
                self._drain,
                stop_at_end=self._stop_at_end,
                read_first=self._read_first,
            )
        return _MainPart(*place, begin, high, consumer, self._drain, stop_at_end=self._stop_at_end)


class _Worker(NamedTuple):
    """What a worker knows of its source before parts are built: offsets (oldest, end) by part."""

    consumer: SharedConsumer
    held: dict[str, tuple[int, int]]


def part_name(topic: str, partition: int) -> str:
    """The part of a partition, as the recovery store knows it: never to change."""
    return f"{topic}/{partition}"


def part_names(config: Mapping[str, str], topics: Sequence[str]) -> list[str]:
    """The parts of `topics` as they are now. Raises KafkaUnavailable."""
    complaints = Complaints("kafka admin")
    metadata = cluster_metadata(admin_client(config, complaints), config, complaints)
    return [part_name(topic, partition) for topic in topics for partition in metadata.topics[topic].partitions]
