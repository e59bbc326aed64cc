"""Dead letters as they lie in their topic, and which of them are wanted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connectors.kafka import (
    TIMEOUT_S,
    Complaints,
    TopicProblem,
    cluster_metadata,
    missing,
    missing_message,
    unavailable,
)

REPLAYED = "replayed"
"""The reason of a record that is no letter, but notes that one was put back."""


class LetterId(NamedTuple):
    """Where a letter is in the dead-letter topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "LetterId":
        """`3/1234`. Raises ValueError."""
        parts = text.split("/")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(
                f"{text!r} is not a letter's id: wanted partition/offset as `list` shows it, such as 3/1234"
            )
        return cls(int(parts[0]), int(parts[1]))


class Letter(NamedTuple):
    """A message that could not be used. `topic`, `partition` and `offset` are where it came from (an empty topic, and
    -1, where no header tells), `written_at` when it became a dead letter, in ms UTC; `cut_from` its size if it was cut.
    """

    id: LetterId
    written_at: int
    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    cut_from: int | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def source(self) -> str:
        """Where it came from, for people."""
        return f"{self.topic}[{self.partition}] offset {self.offset}"

    @classmethod
    def of(cls, message: Message) -> "Letter":
        """A record of the topic; one that others wrote has what its headers tell."""
        found: Any = message.headers() or ()  # the stub has more kinds of headers than those that are read
        headers = tuple((name, value or b"") for name, value in found)
        told = {name: value.decode(errors="replace") for name, value in headers}
        return cls(
            id=LetterId(message.partition() or 0, message.offset() or 0),
            written_at=message.timestamp()[1],
            reason=told.get("reason", ""),
            error=told.get("error", ""),
            topic=told.get("topic", ""),
            partition=_number(told.get("partition")),
            offset=_number(told.get("offset")),
            key=message.key(),
            value=message.value(),
            cut_from=_number(told["cut_from_bytes"]) if "cut_from_bytes" in told else None,
            headers=headers,
        )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else -1


class Wanted(NamedTuple):
    """Which letters: all that fit every condition that is given. `since` and `until` are in ms UTC."""

    ids: frozenset[LetterId] = frozenset()
    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether it is one of them."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.written_at >= self.since)
            and (self.until is None or letter.written_at < self.until)
        )


class Read(NamedTuple):
    """What was found: the letters in the order in which they were written, and those that were put back before."""

    letters: Sequence[Letter]
    replayed: frozenset[LetterId]


def read_letters(
    config: Mapping[str, str], topic: str, wanted: Wanted, *, with_values: bool = True, timeout: float = TIMEOUT_S
) -> Read:
    """The wanted letters of all that the topic holds now; without their values where those would only fill memory.

    Raises KafkaUnavailable, TopicProblem.
    """
    letters, replayed = [], set()
    for message in _messages(config, topic, timeout):
        letter = Letter.of(message)
        if letter.reason == REPLAYED:
            replayed |= _noted(letter)
        elif wanted.fits(letter):
            letters.append(letter if with_values else letter._replace(value=None))
    letters.sort(key=lambda letter: (letter.written_at, letter.id))
    return Read(letters, frozenset(replayed))


def _noted(letter: Letter) -> set[LetterId]:
    try:
        return {LetterId.parse(dict(letter.headers).get("letter", b"").decode(errors="replace"))}
    except ValueError:
        return set()


def _messages(config: Mapping[str, str], topic: str, timeout: float) -> Iterator[Message]:
    complaints = Complaints("kafka dead letters")
    consumer = Consumer(
        {
            "fetch.wait.max.ms": 50,
            **config,
            "group.id": "fraudflow-dlq",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "error_cb": complaints,
            "log_level": "0",
        }
    )
    try:
        metadata = cluster_metadata(consumer, config, complaints, timeout)
        if missing([topic], metadata):
            raise TopicProblem(missing_message([topic], config))
        open_partitions = set(metadata.topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in open_partitions])
        deadline = monotonic() + timeout
        while open_partitions:
            found = consumer.consume(5000, 0.2)
            if found:
                deadline = monotonic() + timeout
            elif monotonic() > deadline:
                raise unavailable(config, timeout, complaints)
            yield from _without_ends(found, open_partitions)
    finally:
        consumer.close()


def _without_ends(messages: Iterable[Message], open_partitions: set[int]) -> Iterator[Message]:
    for message in messages:
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            open_partitions.discard(message.partition() or 0)
