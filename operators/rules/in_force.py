"""The rules and lists in force: those of the rules' file, overridden by what came through their topics."""

from collections.abc import Sequence

import msgspec

from operators.expressions import Namespace
from operators.features.state import restoring
from operators.rules.changes import Changes, ListChange, Start
from operators.rules.rule_set import CompiledRules, Rule, RuleError, RuleSet

DAY = 86_400_000
KEPT_EXPIRED = 30 * DAY
"""So long after their end entries of lists stay, for transactions that come late."""


class State(msgspec.Struct, array_like=True):
    """What was changed since the rules' file: rules by id (None: removed), and the lists as they are."""

    rules: dict[str, Rule | None] = {}
    lists: msgspec.Raw = msgspec.Raw(b"\x80")  # an empty map


class RulesInForce:
    """A rule of the file is in force unless its topic has said something else of its id; the last word counts.

    `start` overrides what `restore` brings: it is as new or newer. Changes that `start` has seen are passed over. The
    same changes in the same order give the same set, whatever came between. Memory: the lists, about 120 bytes an
    entry; in a snapshot an entry takes its own length and up to 10 bytes. An entry is forgotten a month after its end.
    """

    def __init__(self, base: RuleSet, namespace: Namespace, start: Start) -> None:
        self.base = base
        self.namespace = namespace
        self.start = start
        self.overrides: dict[str, Rule | None] = {}
        self.lists: dict[str, dict[str, int]] = {}
        self._packed_lists: msgspec.Raw | None = None
        self._sweep_at = 0
        self._begin()

    def _begin(self) -> None:
        self.overrides.update(self.start.rules)
        self._change_lists(self.start.lists)
        self.compiled = self._compile()

    def _compile(self) -> CompiledRules:
        rules = {rule.id: rule for rule in self.base.rules}
        rules |= {id: rule for id, rule in sorted(self.overrides.items()) if rule is not None}
        removed = {id for id, rule in self.overrides.items() if rule is None}
        in_force = [rule for id, rule in rules.items() if id not in removed]
        return RuleSet(in_force).compile(self.namespace, self.lists)

    def apply(self, changes: Changes) -> None:
        """In force from now on, all of them at once."""
        begun = self.start.ends.get((changes.topic, changes.partition), 0)
        self._change_lists([change for change in changes.lists if change.offset >= begun])
        rules = {change.id: change.rule for change in changes.rules if change.offset >= begun}
        if rules:
            self.overrides |= rules
            self.compiled = self._compile()

    def _change_lists(self, changes: Sequence[ListChange]) -> None:
        for change in changes:
            entries = self.lists.setdefault(change.list, {})
            if change.until is None:
                entries.pop(change.value, None)
            else:
                entries[change.value] = change.until
        if changes:
            self._packed_lists = None

    def pass_time(self, event_time: int) -> None:
        """Tell how far transactions have come: once a day of event time, entries that ended long ago are forgotten."""
        if event_time < self._sweep_at:
            return
        self._sweep_at = event_time + DAY
        for entries in self.lists.values():
            ended = [value for value, until in entries.items() if until <= event_time - KEPT_EXPIRED]
            for value in ended:
                del entries[value]
            if ended:
                self._packed_lists = None

    def state(self) -> State:
        """For the snapshot. The lists are packed once, until they change."""
        if self._packed_lists is None:
            held = {name: entries for name, entries in self.lists.items() if entries}
            self._packed_lists = msgspec.Raw(msgspec.msgpack.encode(held))
        return State(dict(self.overrides), self._packed_lists)

    def restore(self, state: State) -> None:
        """Continue from what `state` gave. Raises RuleError for a rule that this flow can't run, and StateError."""
        self.overrides = dict(state.rules)
        with restoring("lists"):
            self.lists = msgspec.msgpack.decode(state.lists, type=dict[str, dict[str, int]])
        self._packed_lists = None
        self._sweep_at = 0
        try:
            self._begin()
        except RuleError as error:
            raise RuleError(
                f"a rule that was in force can't be restored: {error}\nPublish it anew to its topic, or add what it "
                "needs to the rules' file, and start again"
            ) from error
