"""Where a message is that a step failed at: the step knows the transaction, the topic the offset."""

from itertools import chain
from time import monotonic

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from connectors.kafka_source import RawBatch, raw_batch
from flows.failures import place_of, split, told_place
from flows.parts import limits
from flows.settings import Settings
from fraudflow.run.told import Failure
from operators.transactions.decoding import Decoder

LONGEST_S = 30.0
ANSWER_S = 10.0


def locate(failure: Failure, settings: Settings) -> str:
    """The message as `topic[partition] offset n`, by its transaction's id where only that is known.

    Reads on from the offsets that the group has committed, which are an epoch behind, for half a minute at most.
    """
    at = dict(failure.at)
    named = told_place(at) or "a message that could not be told"
    if "transaction_id" not in at:
        return named
    try:
        found = _find(str(at["transaction_id"]), settings)
    except KafkaException:
        found = None
    return f"{found} ({named})" if found else f"{named}, of {', '.join(settings.transaction_topics)},"


def _find(transaction_id: str, settings: Settings) -> str | None:
    decoder = Decoder(limits(settings))
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": settings.kafka_group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": "0",
        }
    )
    try:
        topics = consumer.list_topics(timeout=ANSWER_S).topics
        places = [TopicPartition(name, p) for name in settings.transaction_topics for p in topics[name].partitions]
        consumer.assign(consumer.committed(places, timeout=ANSWER_S))
        deadline, silent = monotonic() + LONGEST_S, 0
        while monotonic() < deadline and silent < 2:
            messages = [message for message in consumer.consume(2000, 1.0) if message.error() is None]
            silent = 0 if messages else silent + 1
            for one in chain.from_iterable(map(split, _batches(messages))):
                if any(found.transaction_id == transaction_id for found in decoder.transactions(one).transactions):
                    return told_place(place_of(one))
    finally:
        consumer.close()
    return None


def _batches(messages: list[Message]) -> list[RawBatch]:
    groups: dict[tuple[str, int], list[Message]] = {}
    for message in messages:
        groups.setdefault((message.topic() or "", message.partition() or 0), []).append(message)
    return [raw_batch(*place, group) for place, group in groups.items()]
