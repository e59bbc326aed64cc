"""Messages as they come from the broker, decoded by the batch; what can't be used becomes a dead letter."""

from typing import NamedTuple

import orjson

from operators.times import parse_time
from operators.transactions.formats import Limits, Rejected, read_flag, read_id, read_transaction
from operators.transactions.messages import Messages
from operators.transactions.quick import QuickReader
from operators.transactions.records import DeadLetter, Label, Transaction


class Decoded(NamedTuple):
    """What one batch of messages held."""

    transactions: list[Transaction]
    labels: list[Label]
    dead_letters: list[DeadLetter]


class Decoder:
    """Decodes batches of messages. Keeps no state; the same bytes always give the same records."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._quick = QuickReader(limits)

    def transactions(self, messages: Messages) -> Decoded:
        """Transactions, and the labels split off them: a label arrives `label_delay` after its transaction's time.

        A transaction without an id of its own gets `topic-partition-offset`, the same on every replay.
        """
        limits = self.limits
        source = f"{messages.topic}-{messages.partition}"
        found, labelled, skipped = self._quick.read(messages.values, messages.timestamps, messages.offsets, source)
        dead_letters: list[DeadLetter] = []
        for i in skipped:
            value, offset, timestamp = messages.values[i], messages.offsets[i], messages.timestamps[i]
            try:
                found[i], flag = read_transaction(_object(value, limits), f"{source}-{offset}", timestamp, limits)
            except Rejected as error:
                dead_letters.append(dead_letter(error, messages, offset, timestamp, messages.keys[i], value))
            else:
                if flag is not None:
                    labelled[i] = flag
        labels = [
            label_of(transaction, labelled[i], limits.label_delay)
            for i, transaction in enumerate(found if labelled else ())
            if transaction is not None and i in labelled
        ]
        if dead_letters:
            found = [transaction for transaction in found if transaction is not None]
        return Decoded(found, labels, dead_letters)  # type: ignore[arg-type]

    def labels(self, messages: Messages) -> Decoded:
        """The labels of `fraud-labels`: analysts, chargebacks."""
        labels: list[Label] = []
        dead_letters: list[DeadLetter] = []
        columns = zip(messages.offsets, messages.timestamps, messages.keys, messages.values, strict=True)
        for offset, timestamp, key, value in columns:
            try:
                labels.append(_label(_object(value, self.limits), timestamp, self.limits))
            except Rejected as error:
                dead_letters.append(dead_letter(error, messages, offset, timestamp, key, value))
        return Decoded([], labels, dead_letters)


def dead_letter(
    error: Rejected, messages: Messages, offset: int, timestamp: int, key: bytes | None, value: bytes | None
) -> DeadLetter:
    return DeadLetter(error.reason, str(error), messages.topic, messages.partition, offset, key, value, timestamp)


def label_of(transaction: Transaction, is_fraud: bool, delay: int) -> Label:
    """The label that came inside a transaction's message, made to arrive `delay` milliseconds after its time."""
    return Label(
        transaction.transaction_id,
        is_fraud,
        transaction.event_time + delay,
        "transaction",
        transaction.user_id,
        transaction.merchant_id,
        transaction.receiver_id,
    )


def _object(value: bytes | None, limits: Limits) -> dict[str, object]:
    if value is None:
        raise Rejected("not_json", "the message has no value")
    if len(value) > limits.max_message_bytes:
        raise Rejected("message_too_large", f"{len(value)} bytes: at most {limits.max_message_bytes} are taken")
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected("not_json", f"not JSON: {error}") from None
    if type(message) is not dict:
        raise Rejected("not_an_object", f"a JSON {type(message).__name__}: wanted an object")
    return message


def _label(message: dict[str, object], timestamp: int, limits: Limits) -> Label:
    longest = limits.max_id_length
    transaction_id = read_id(message, "transaction_id", longest)
    if transaction_id is None:
        raise Rejected("missing_field", "`transaction_id` is missing")
    user_id = read_id(message, "user_id", longest)
    if user_id is None:
        raise Rejected("missing_field", "`user_id` is missing: it leads the label to its transaction")
    is_fraud = read_flag(message, "is_fraud")
    if is_fraud is None:
        raise Rejected("missing_field", "`is_fraud` is missing")
    labelled_at = timestamp
    if message.get("labelled_at") is not None:
        try:
            labelled_at = parse_time(message["labelled_at"])
        except (ValueError, OverflowError) as error:
            raise Rejected("time_unreadable", f"`labelled_at`: {error}") from None
        if labelled_at > timestamp + limits.max_clock_skew:
            raise Rejected(
                "time_in_future", "`labelled_at` is ahead of the broker's clock by more than FRAUD_MAX_CLOCK_SKEW"
            )
    return Label(
        transaction_id,
        is_fraud,
        labelled_at,
        read_id(message, "source", longest) or "unknown",
        user_id,
        read_id(message, "merchant_id", longest),
        read_id(message, "receiver_id", longest),
    )
