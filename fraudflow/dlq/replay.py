"""Dead letters back into the topics they came from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka import Complaints, without_consumer_options
from fraudflow.dlq.letters import REPLAYED, Letter, LetterId, Read

HEADER = "replayed_from"
"""Of a message that was put back: the dead-letter topic, and the letter's partition and offset."""

TIMEOUT_S = 30.0


class ReplayFailed(RuntimeError):
    """Kafka did not take a letter; the message says how many it took before."""


class Plan(NamedTuple):
    """What is put back, and what is not and why."""

    chosen: Sequence[Letter]
    refused: Sequence[tuple[Letter, str]]


def plan(read: Read, *, sources: Mapping[str, int], again: bool) -> Plan:
    """Sort out what can be put back; `sources` are the topics that the flow reads, with their numbers of partitions."""
    chosen, refused = [], []
    for letter in read.letters:
        why = _refusal(letter, read.replayed, sources, again)
        if why is None:
            chosen.append(letter)
        else:
            refused.append((letter, why))
    return Plan(chosen, refused)


def _refusal(letter: Letter, replayed: frozenset[LetterId], sources: Mapping[str, int], again: bool) -> str | None:
    if letter.cut_from is not None:
        return f"it was cut from {letter.cut_from} bytes; the original is at {letter.source}"
    if letter.topic not in sources:
        came = f"from {letter.topic}" if letter.topic else "from no topic that its headers tell"
        return f"it came {came}, which the flow does not read"
    if letter.id in replayed and not again:
        return "it was put back before (--again does it once more)"
    return None


def put_back(
    config: Mapping[str, str],
    dlq_topic: str,
    letters: Sequence[Letter],
    *,
    sources: Mapping[str, int],
    progress: Callable[[int], object],
) -> int:
    """Send letters to where they came from: the same topic and partition, key and value. The number of them.

    When all were taken, each is noted in the dead-letter topic, so that it is not put back twice by mistake; where this
    process ends in between, some are. Raises ReplayFailed.
    """
    sender = _Sender(config)
    for done, letter in enumerate(letters, 1):
        # Into the partition it came from: there it stays in line with its user's other messages.
        partition = letter.partition if 0 <= letter.partition < sources[letter.topic] else None
        sender.send(letter.topic, letter, [(HEADER, f"{dlq_topic}/{letter.id}".encode())], partition)
        progress(done)
    sender.flush()
    for letter in letters:
        sender.send(dlq_topic, letter._replace(value=None), _note(letter), letter.id.partition)
    sender.flush()
    return len(letters)


def _note(letter: Letter) -> list[tuple[str, bytes]]:
    told = {
        "reason": REPLAYED,
        "error": f"{letter.reason}: put back",
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "letter": str(letter.id),
    }
    return [(name, text.encode()) for name, text in told.items()]


class _Sender:
    """Sends in order, and says at the end whether all were taken."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._delivered = 0
        self._failure: str | None = None
        self._complaints = Complaints("kafka producer")
        settings: dict[str, Any] = {
            "message.max.bytes": 10_485_760,
            **without_consumer_options(config),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": int(TIMEOUT_S * 1000),
            "error_cb": self._complaints,
            "log_level": "0",
        }
        self._producer = Producer(settings)

    def send(self, topic: str, letter: Letter, headers: list[tuple[str, bytes]], partition: int | None) -> None:
        more: dict[str, Any] = {"headers": headers, "on_delivery": self._on_delivery}
        if partition is not None:
            more["partition"] = partition
        while True:
            self._check()
            try:
                self._producer.produce(topic, letter.value, letter.key, **more)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._failure = f"{topic}: {error.args[0].str()}"

    def flush(self) -> None:
        left = self._producer.flush(TIMEOUT_S + 5)
        if left and self._failure is None:
            self._failure = f"{left} got no answer: {self._complaints.why()}"
        self._check()

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered += 1
        elif self._failure is None:
            self._failure = f"{message.topic()}: {error.str()}"

    def _check(self) -> None:
        if self._failure is not None:
            raise ReplayFailed(
                f"{self._failure}. {self._delivered} records were taken before; letters that are not noted as replayed "
                "can be put back again"
            )
