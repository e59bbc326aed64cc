"""Messages that are left out because someone said so: they become dead letters unread."""

from collections.abc import Callable, Collection
from itertools import chain

from connectors.kafka_source import RawBatch
from flows.failures import split
from operators.transactions.decoding import Decoded
from operators.transactions.records import DeadLetter

Place = tuple[str, int, int]
"""Topic, partition, offset."""

REASON = "left_out"


def leaving_out(read: Callable[[RawBatch], Decoded], places: Collection[Place]) -> Callable[[RawBatch], Decoded]:
    """`read` for all messages but those at `places`, which become dead letters; `read` itself where there is none."""
    if not places:
        return read
    partitions = {(topic, partition): set[int]() for topic, partition, _ in places}
    for topic, partition, offset in places:
        partitions[topic, partition].add(offset)

    def read_others(batch: RawBatch) -> Decoded:
        named = partitions.get((batch.topic, batch.partition), set())
        if named.isdisjoint(batch.offsets):
            return read(batch)
        one_by_one = [_letter(one) if one.offsets[0] in named else read(one) for one in split(batch)]
        return Decoded(*(list(chain.from_iterable(found)) for found in zip(*one_by_one, strict=True)))

    return read_others


def _letter(one: RawBatch) -> Decoded:
    why = "named by FRAUD_SKIP_MESSAGES"
    place = one.topic, one.partition, one.offsets[0]
    return Decoded([], [], [DeadLetter(REASON, why, *place, one.keys[0], one.values[0], one.timestamps[0])])
