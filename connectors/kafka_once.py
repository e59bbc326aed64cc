"""Records into Kafka once each, also for a consumer that knows nothing of it, whatever is killed when.

After a crash the engine goes on from its last snapshot and makes the records since then a second time. So each part
keeps with its snapshot how far its records are in the topic, and on a restart reads back what came after: those are
there already, and are left out when they come again. Records are told apart by an identity in their headers; one that
comes again with another content is still the same record. The ids that have not come again yet are part of the next
snapshot, or a second crash would repeat them.

What it does not cover: a record made differently the second time under a new identity; a request of the dead process
that reaches the broker after it was read back (within the milliseconds of a restart); a recovery directory that is
gone, since where to read back from was in it.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock, get_ident

import msgspec
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import Message

from connectors.kafka import TIMEOUT_S
from connectors.kafka_sink import Record, SharedProducer, part_names, part_of
from connectors.kafka_table import ends, messages_to_end

log = logging.getLogger(__name__)

VERSION = 1
IDENTITY, WRITER = "record_id", "writer"
MOST_AWAITED = 1_000_000
"""Ids that a part waits for; beyond it the oldest are forgotten (they would be repeated, and the log says so)."""


class _State(msgspec.Struct, array_like=True):
    version: int
    written_to: dict[int, int]
    awaited: list[str]


def state_of(step_id: str, stored: bytes) -> _State:
    """A part's snapshot. Raises ValueError for one of another version, or a damaged one."""
    advice = "run the version that wrote it, or begin with an empty recovery directory"
    try:
        state = msgspec.msgpack.decode(stored, type=_State)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"the state of {step_id} is damaged ({error}): {advice}") from error
    if state.version != VERSION:
        raise ValueError(f"the state of {step_id} has format {state.version}, this one reads {VERSION}: {advice}")
    return state


def start_offsets(config: Mapping[str, str], topic: str, directory: Path) -> dict[int, int]:
    """Where `topic` ended when the recovery directory was first used: remembered there, for a crash in the first epoch.

    Several processes may ask at once; all get the same answer.
    """
    path = directory / f"start-of-{topic}.json"
    if not path.exists():
        mine = path.with_suffix(f".{os.getpid()}-{get_ident()}")
        mine.write_bytes(msgspec.json.encode(ends(config, topic)))
        with suppress(FileExistsError):
            os.link(mine, path)  # unlike a rename it fails when another process was first
        mine.unlink()
    return msgspec.json.decode(path.read_bytes(), type=dict[int, int])


class _OncePart(StatefulSinkPartition[list[Record], bytes]):
    def __init__(self, sink: "OnceSink", name: str, written_to: dict[int, int], awaited: list[str]) -> None:
        self._sink = sink
        self._name = name.encode()
        self.written_to = written_to
        self._awaited = dict.fromkeys(awaited)
        sink.producer.open()

    def accept(self, partition: int, messages: list[Message], end: int) -> None:
        """Take what a partition of the topic holds, from no later than `written_to` on to its end."""
        begin = self.written_to.get(partition, 0)
        for message in messages:
            headers = dict(message.headers() or [])
            identity = headers.get(IDENTITY)
            mine = headers.get(WRITER) == self._name and (message.offset() or 0) >= begin
            if mine and isinstance(identity, bytes):
                self._awaited[identity.decode()] = None
        self.written_to[partition] = end

    def write_batch(self, values: list[list[Record]]) -> None:
        self._sink.read_back()
        new = [record for records in values for record in records if self._is_new(record)]
        self._sink.producer.produce(self._sink.topic, map(self._signed, new), self._delivered)

    def _is_new(self, record: Record) -> bool:
        if record.identity not in self._awaited:
            return True
        del self._awaited[record.identity]
        return False

    def _signed(self, record: Record) -> Record:
        headers = [*(record.headers or []), (WRITER, self._name), (IDENTITY, str(record.identity).encode())]
        return record._replace(headers=headers)

    def _delivered(self, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if partition is not None and offset is not None:
            self.written_to[partition] = max(self.written_to.get(partition, 0), offset + 1)

    def snapshot(self) -> bytes:
        self._sink.read_back()
        self._sink.producer.flush()
        if len(self._awaited) > MOST_AWAITED:
            surplus = list(self._awaited)[: len(self._awaited) - MOST_AWAITED]
            log.error("%s: %d records that never came again are forgotten", self._sink.topic, len(surplus))
            for identity in surplus:
                del self._awaited[identity]
        return msgspec.msgpack.encode(_State(VERSION, self.written_to, list(self._awaited)))


class OnceSink(FixedPartitionedSink[list[Record], bytes]):
    """Writes items `(key, records)` to one topic, each record once: records need an `identity`.

    The item's key chooses the part, and with it which records are read back; it must be the same on a replay.
    Snapshot: the offsets behind the part's last record and the ids still awaited, in a format with a version.
    """

    def __init__(
        self,
        producer: SharedProducer,
        topic: str,
        config: Mapping[str, str],
        directory: Path,
        *,
        timeout: float = TIMEOUT_S,
    ) -> None:
        self.producer = producer
        self.topic = topic
        self.config = config
        self.directory = directory
        self.timeout = timeout
        self._start: dict[int, int] = {}
        self._behind: list[_OncePart] = []
        self._lock = Lock()

    def list_parts(self) -> list[str]:
        """The same parts on every worker; the engine spreads them."""
        self._start = start_offsets(self.config, self.topic, self.directory)
        return part_names()

    def part_fn(self, item_key: str) -> int:
        """The same on every worker and in every run."""
        return part_of(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> _OncePart:
        """Begin at the part's snapshot. Raises ValueError for a snapshot of another version."""
        written_to, awaited = dict(self._start), []
        if resume_state is not None:
            state = state_of(step_id, resume_state)
            written_to, awaited = state.written_to, state.awaited
        part = _OncePart(self, for_part, written_to, awaited)
        self._behind.append(part)
        return part

    def read_back(self) -> None:
        """Before the first record: tell the parts what they have written since their snapshots, in one reading for all.

        Raises KafkaUnavailable.
        """
        with self._lock:  # another worker's thread may be at it
            parts, self._behind = self._behind, []
            if not parts:
                return
            partitions = {partition for part in parts for partition in part.written_to}
            begin = {(self.topic, p): min(part.written_to.get(p, 0) for part in parts) for p in partitions}
            for (_, partition), (messages, end) in messages_to_end(
                self.config, [self.topic], begin=begin, timeout=self.timeout
            ).items():
                for part in parts:
                    part.accept(partition, messages, end)
