"""Rules and lists that change while the flow runs: what a message on their topics says, checked before it is used."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import orjson

from operators.expressions import LIST_NAME, Namespace, UnknownName
from operators.measurements import Point
from operators.rules.rule_set import ID, Rule, RuleError, RuleSet, check_rule, rule_of
from operators.showing import shown
from operators.times import iso, parse_time
from operators.transactions.messages import Messages

FOREVER = 2**63 - 1
LONGEST_VALUE = 256
LONGEST_NAME = 80
LARGEST_MESSAGE = 100_000
LONGEST_TOLD = 4_000
ENTRY_FIELDS = ("list", "value", "expires_at", "note")
NANOSECONDS = 1_000_000


class RuleChange(msgspec.Struct, frozen=True, array_like=True):
    """A rule that is in force from now on, or (None) is no more; `offset` is that of the message that says so."""

    id: str
    rule: Rule | None
    offset: int


class ListChange(msgspec.Struct, frozen=True, array_like=True):
    """An entry of a list: it counts for transactions before `until` (ms), or (None) no more."""

    list: str
    value: str
    until: int | None
    offset: int


class RuleEvent(msgspec.Struct, frozen=True):
    """What became of a message. `at` is the broker's time of it in milliseconds."""

    event: Literal["rule_changed", "rule_refused", "list_changed", "list_refused"]
    name: str
    version: int | None
    at: int
    message: str
    topic: str
    partition: int
    offset: int

    def to_json(self) -> bytes:
        """The record of the `fraud-model-events` topic; the same message gives the same record."""
        kind = "rule" if self.event.startswith("rule") else "list"
        record = {"event": self.event, kind: self.name, "version": self.version, "at": iso(self.at)}
        place = {"topic": self.topic, "partition": self.partition, "offset": self.offset}
        return orjson.dumps({**record, "message": self.message, **place})

    def to_point(self) -> Point | None:
        """What was refused counts in `pipeline`, like dead letters; the time tells messages of a millisecond apart."""
        if not self.event.endswith("refused"):
            return None
        time_ns = self.at * NANOSECONDS + self.offset % NANOSECONDS
        return Point("pipeline", {"reason": self.event}, {"rejected": 1}, time_ns)


class Changes(msgspec.Struct, frozen=True):
    """What a batch of messages of one partition changes, in order, and what is to be told of it.

    A batch takes effect as a whole. `waiting` are the rules that a restart would put in force.
    """

    topic: str
    partition: int
    rules: list[RuleChange] = []
    lists: list[ListChange] = []
    events: list[RuleEvent] = []
    waiting: list[str] = []


class Refused(ValueError):
    """A message that changes nothing; the text says why."""


class NotKept(Refused):
    """A rule that changes nothing until a restart, which gives it the windows that it needs."""


class ChangeReader:
    """Reads the messages of the rules' and the lists' topic. Keeps no state: the same bytes give the same changes.

    `kept` is the namespace of the running flow, `known` that of every feature that there is. A rule that compiles only
    with the latter needs windows that are not kept: it is refused with the remark that it is in force after a restart.
    """

    def __init__(self, kept: Namespace, known: Namespace, list_topic: str) -> None:
        self.kept = kept
        self.known = known
        self.list_topic = list_topic

    def read(self, messages: Messages) -> Changes:
        """What the messages change; the events tell what is refused and why, and each rule that is not."""
        changes = Changes(messages.topic, messages.partition, [], [], [], [])
        columns = zip(messages.offsets, messages.timestamps, messages.keys, messages.values, strict=True)
        for offset, timestamp, raw_key, value in columns:
            key = (raw_key or b"").decode(errors="replace")
            place = messages.topic, messages.partition, offset
            if messages.topic == self.list_topic:
                try:
                    changes.lists.append(entry_of_message(key, value, offset))
                except Refused as error:
                    event = RuleEvent("list_refused", key[:LONGEST_NAME], None, timestamp, _told(error), *place)
                    changes.events.append(event)
            else:
                self._read_rule(changes, timestamp, place, key, value)
        if changes.lists:
            changes.events.append(_list_event(changes, messages))
        return changes

    def _read_rule(self, changes: Changes, at: int, place: tuple[str, int, int], key: str, value: bytes | None) -> None:
        version = None
        try:
            rule = rule_of_message(key, value)
            if rule is None:
                told = "removed"
            else:
                version = rule.version
                self._compile(rule)
                told = f"in force: {rule.mode}, {rule.severity}, {rule.decision}, when {rule.when}"
            changes.rules.append(RuleChange(key, rule, place[2]))
            changes.events.append(RuleEvent("rule_changed", key, version, at, told, *place))
        except (RuleError, Refused) as error:
            event = RuleEvent("rule_refused", key[:LONGEST_NAME], version, at, _told(error), *place)
            changes.events.append(event)
            if isinstance(error, NotKept):
                changes.waiting.append(key)

    def _compile(self, rule: Rule) -> None:
        RuleSet([rule]).compile(self.known)
        missing = []
        for name in rule.names:
            try:
                self.kept(name)
            except UnknownName:
                missing.append(name)
        if missing:
            raise NotKept(
                f"the running flow does not keep {', '.join(missing)}. The rule is in force after a restart, which "
                "begins with the rules of this topic; until then the one before it stays in force"
            )


def _told(error: Exception) -> str:
    """What an event says: it must fit into a record, whatever was sent."""
    text = str(error)
    return text if len(text) <= LONGEST_TOLD else text[:LONGEST_TOLD] + "…"


def _list_event(changes: Changes, messages: Messages) -> RuleEvent:
    """One for all entries of a batch: lists may be long."""
    removed = sum(change.until is None for change in changes.lists)
    names = ", ".join(sorted({change.list for change in changes.lists}))
    told = f"{len(changes.lists) - removed} entries set, {removed} removed"
    place = messages.topic, messages.partition, messages.offsets[-1]
    return RuleEvent("list_changed", names, None, messages.timestamps[-1], told, *place)


def rule_of_message(key: str, value: bytes | None) -> Rule | None:
    """The rule of a message without its examples, checked by itself; None where it removes one.

    Raises RuleError and Refused.
    """
    if not key:
        raise Refused("the message has no key: wanted the rule's id")
    if not value:
        if not ID.fullmatch(key):
            raise Refused(f"the key is {shown(key)}: no rule is called that, so none is removed")
        return None
    message = _object(value)
    if message.get("id", key) != key:
        raise Refused(f"the message's key is {shown(key)}, the rule's id {shown(message['id'])}: wanted the same")
    if "field" in message:
        raise Refused("`field`: a message can't define derived fields: they stand in the files of rules and model")
    rule = rule_of({**message, "id": key}, f"rule {shown(key)}")
    check_rule(rule)
    return msgspec.structs.replace(rule, examples=())


def entry_of_message(key: str, value: bytes | None, offset: int) -> ListChange:
    """The entry of a message. Raises Refused."""
    name, slash, entry = key.partition("/")
    if not slash or not LIST_NAME.fullmatch(name) or not 0 < len(entry) <= LONGEST_VALUE:
        raise Refused(f"the key is {shown(key)}: wanted list/value, the value of 1 to {LONGEST_VALUE} characters")
    if not value:
        return ListChange(name, entry, None, offset)
    message = _object(value)
    unknown = sorted(set(message) - set(ENTRY_FIELDS))
    if unknown:
        raise Refused(f"unknown field {shown(unknown[0])}: wanted some of {', '.join(ENTRY_FIELDS)}")
    if (message.get("list"), message.get("value")) != (name, entry):
        raise Refused(f"the key is {key!r}: wanted `list` {name!r} and `value` {entry!r} in the message too")
    if message.get("expires_at") is None:
        return ListChange(name, entry, FOREVER, offset)
    try:
        return ListChange(name, entry, parse_time(message["expires_at"]), offset)
    except (ValueError, OverflowError) as error:
        raise Refused(f"`expires_at`: {error}") from None


def _object(value: bytes) -> Mapping[str, Any]:
    if len(value) > LARGEST_MESSAGE:
        raise Refused(f"{len(value)} bytes: at most {LARGEST_MESSAGE} are taken")
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Refused(f"not JSON: {error}") from None
    if type(message) is not dict:
        raise Refused(f"a JSON {type(message).__name__}: wanted an object")
    return message


class Start(NamedTuple):
    """What the topics held when the flow began: the last usable word on each rule and entry, and up to which offset.

    Every process begins with it; messages before `ends` change nothing more.
    """

    rules: Mapping[str, Rule | None] = {}
    lists: Sequence[ListChange] = ()
    ends: Mapping[tuple[str, int], int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the rules use: the windows to keep beside those of the rules' file."""
        return tuple(dict.fromkeys(name for rule in self.rules.values() if rule for name in rule.names))

    def __str__(self) -> str:
        changed = ", ".join(id for id, rule in self.rules.items() if rule) or "none"
        removed = ", ".join(id for id, rule in self.rules.items() if rule is None) or "none"
        entries = sum(change.until is not None for change in self.lists)
        return f"rules from their topic: {changed}; removed: {removed}; {entries} entries of lists"


def start_of(
    batches: Sequence[Messages], ends: Mapping[tuple[str, int], int], known: Namespace, list_topic: str
) -> Start:
    """What messages up to `ends` leave in force. What is not usable is passed over: `ChangeReader` tells of it."""
    rules: dict[str, Rule | None] = {}
    entries: dict[tuple[str, str], ListChange] = {}
    for batch in batches:
        for offset, raw_key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            key = (raw_key or b"").decode(errors="replace")
            try:
                if batch.topic == list_topic:
                    entry = entry_of_message(key, value, offset)
                    entries[entry.list, entry.value] = entry
                    continue
                rule = rule_of_message(key, value)
                if rule is not None:
                    RuleSet([rule]).compile(known)
                rules[key] = rule
            except (RuleError, Refused):
                continue
    return Start(rules, tuple(entries.values()), ends)
