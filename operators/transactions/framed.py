"""Messages that are framed for a Schema Registry, on topics where all are: made plain JSON, then decoded."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from operators.transactions.decoding import Decoded, Decoder, dead_letter
from operators.transactions.formats import Rejected
from operators.transactions.messages import Messages


class _Plain(NamedTuple):
    topic: str
    partition: int
    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


class FramedDecoder:
    """A decoder that reads the messages of `topics` through `translate`, and all others as they are.

    `translate` gives the JSON of a message, or raises Rejected. Dead letters hold the message as it came.
    """

    def __init__(self, decoder: Decoder, topics: Collection[str], translate: Callable[[bytes | None], bytes]) -> None:
        self.decoder = decoder
        self.topics = frozenset(topics)
        self.translate = translate

    def transactions(self, messages: Messages) -> Decoded:
        """Transactions, and the labels split off them."""
        return self._read(messages, self.decoder.transactions)

    def labels(self, messages: Messages) -> Decoded:
        """The labels of `fraud-labels`."""
        return self._read(messages, self.decoder.labels)

    def _read(self, messages: Messages, decode: Callable[[Messages], Decoded]) -> Decoded:
        if messages.topic not in self.topics:
            return decode(messages)
        plain = _Plain(messages.topic, messages.partition, [], [], [], [])
        letters, came = [], {}
        columns = zip(messages.offsets, messages.timestamps, messages.keys, messages.values, strict=True)
        for offset, timestamp, key, value in columns:
            try:
                content = self._content(value)
            except Rejected as error:
                letters.append(dead_letter(error, messages, offset, timestamp, key, value))
                continue
            came[offset] = value
            plain.offsets.append(offset)
            plain.timestamps.append(timestamp)
            plain.keys.append(key)
            plain.values.append(content)
        decoded = decode(plain)
        letters += [msgspec.structs.replace(letter, value=came[letter.offset]) for letter in decoded.dead_letters]
        letters.sort(key=lambda letter: letter.offset)
        return Decoded(decoded.transactions, decoded.labels, letters)

    def _content(self, value: bytes | None) -> bytes:
        limit = self.decoder.limits.max_message_bytes
        if value is not None and len(value) > limit:
            raise Rejected("message_too_large", f"{len(value)} bytes: at most {limit} are taken")
        return self.translate(value)
