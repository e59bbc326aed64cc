"""The demo's topics as a reader sees them: to their ends, and how far the flow has come."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

READER = {"enable.auto.commit": "false", "fetch.wait.max.ms": "20", "auto.offset.reset": "earliest", "log_level": "0"}


class Topics:
    """A consumer of all partitions of some topics, from their start. Never commits anything."""

    def __init__(self, config: Mapping[str, str], topics: Iterable[str], group: str | None = None) -> None:
        options: dict[str, Any] = {**READER, **config, "group.id": group or f"demo-{uuid4().hex}"}
        self._consumer = Consumer(options)
        self._parts: list[TopicPartition] = []
        for topic in topics:
            found = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
            self._parts += [TopicPartition(topic, number) for number in found]

    def follow(self) -> None:
        """From the earliest message on."""
        starts = [TopicPartition(part.topic, part.partition, self._ends(part)[0]) for part in self._parts]
        self._consumer.assign(starts)

    def take(self, seconds: float, most: int = 1_000) -> list[Message]:
        """What has come, after at most so long."""
        return [message for message in self._consumer.consume(most, seconds) if message.error() is None]

    def to_the_end(self, timeout: float = 30.0) -> Iterator[Message]:
        """Every message from the start to the end that each partition has now. Raises TimeoutError."""
        ends = {(part.topic, part.partition): self._ends(part) for part in self._parts}
        left = {part: high for part, (low, high) in ends.items() if high > low}
        self._consumer.assign([TopicPartition(topic, number, ends[topic, number][0]) for topic, number in left])
        deadline = time.monotonic() + timeout
        while left:
            messages = self.take(0.1, 10_000)
            if messages:
                deadline = time.monotonic() + timeout
            elif time.monotonic() > deadline:
                raise TimeoutError(f"nothing more came of {sorted(left)} within {timeout:g} s")
            for message in messages:
                part = (str(message.topic()), int(message.partition() or 0))
                offset = int(message.offset() or 0)
                if part in left:
                    yield message
                    if offset + 1 >= left[part]:
                        del left[part]

    def gone(self) -> int:
        """Messages that the broker no longer keeps."""
        return sum(self._ends(part)[0] for part in self._parts)

    def lag(self) -> int | None:
        """Messages that the group has not committed yet; None where it has committed nothing at all."""
        try:
            committed = self._consumer.committed(self._parts, timeout=5)
        except KafkaException:
            return None
        if all(part.offset < 0 for part in committed):
            return None
        return sum(max(0, self._ends(part)[1] - max(part.offset, 0)) for part in committed)

    def close(self) -> None:
        self._consumer.close()

    def _ends(self, part: TopicPartition) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(part, timeout=10)
        return int(low), int(high)
