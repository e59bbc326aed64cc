"""In which order the windows of the entities are gone through, so that what a derived field needs is known before it.

Each pass is the windows of one entity. A field that an entity's windows store must be known when the event enters
them, and so do not come in an earlier pass than the field; a field comes no earlier than the features in it. What needs
each other must be in one pass. An entity has two passes only where some of its features need what another's give.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operators.features.fields import FieldError, Fields
from operators.features.meaning import STATELESS
from operators.features.names import Feature

USER: Final = "user"
MOST_PASSES: Final = 9
"""Of one entity."""
LABELS: Final = "labels of transactions"
"""Where labels are completed by what their transaction had: a pass of the user, whom every label names."""


@dataclass(frozen=True)
class Pass:
    """The features of an entity and the fields that are computed with them; `completes` labels."""

    entity: str
    features: list[Feature]
    fields: list[str]
    completes: bool = False


class Needs:
    """Everything that the wanted names stand on, and what each needs before or with it."""

    def __init__(self, names: Iterable[str], fields: Fields) -> None:
        """Raises UnknownName."""
        self.fields = fields
        self.features: dict[str, Feature] = {}
        self.needs: dict[str, list[str]] = {}
        self.label_fields: list[str] = []
        waiting = [*names]
        while waiting:
            name = waiting.pop()
            if name in self.needs or name in STATELESS:
                continue
            if name == LABELS:
                needed = self.needs[name] = self.label_fields
            elif name in fields:
                needed = self.needs[name] = [used for used in fields[name].expression.names if used not in STATELESS]
            else:
                self.features[name] = fields.feature(name)
                needed = self.needs[name] = self._of_feature(self.features[name])
            waiting += needed

    def _of_feature(self, feature: Feature) -> list[str]:
        derived = [feature.field] if feature.field is not None and feature.field in self.fields else []
        if not feature.of_completed_labels:
            return derived
        self.label_fields += [field for field in derived if field not in self.label_fields]
        return [LABELS, *derived]

    def entity(self, name: str) -> str | None:
        """Whose pass it must be in; None where that does not matter."""
        if name == LABELS:
            return USER
        return self.features[name].entity if name in self.features else None


@dataclass(frozen=True)
class Group:
    """Names that need each other, or one that does not need itself; `needs` are the others."""

    members: frozenset[str]
    needs: frozenset[str]
    entity: str | None


def passes_of(names: Iterable[str], fields: Fields, *, user_first: bool) -> tuple[list[Pass], tuple[str, ...]]:
    """The passes for the names, and the fields that labels are told apart by; the user's comes first where it must.

    Raises UnknownName, and FieldError for a circle that leads through two entities.
    """
    needs = Needs(names, fields)
    waiting = [_group(members, needs) for members in _components(needs.needs)]
    passes: list[Pass] = []
    done: frozenset[str] = frozenset()
    while waiting or (user_first and not passes):
        entity = USER if user_first and not passes else _next_entity(waiting, done)
        taken = _ready(waiting, done, entity)
        members = frozenset[str]().union(*(group.members for group in taken))
        waiting = [group for group in waiting if group not in taken]
        done |= members
        if sum(other.entity == entity for other in passes) == MOST_PASSES:
            told = f"derived fields lead back to the windows of {entity} more than {MOST_PASSES} times"
            raise FieldError(f"{told}: wanted fewer that need those of other entities", min(fields.specs), "value")
        passes.append(
            Pass(
                entity,
                [needs.features[name] for name in sorted(members & needs.features.keys())],
                [name for name in fields.types if name in members],
                LABELS in members,
            )
        )
    return passes, tuple(name for name in fields.types if name in needs.label_fields)


def check_passes(fields: Fields) -> None:
    """Raises FieldError where the fields stand in a circle through two entities."""
    passes_of(fields.specs, fields, user_first=False)


def unused(names: Iterable[str], fields: Fields) -> list[str]:
    """The derived fields that nothing in the names stands on. Raises UnknownName."""
    used = Needs(names, fields).needs
    return [name for name in fields.specs if name not in used]


def _group(members: frozenset[str], needs: Needs) -> Group:
    entities = sorted({entity for name in members if (entity := needs.entity(name)) is not None})
    if len(entities) > 1:
        field = min(name for name in members if name in needs.fields)
        raise FieldError(
            f"field {field!r} stands in a circle through the windows of {' and '.join(entities)}: "
            f"{', '.join(sorted(members))} need each other, and each entity's are gone through in turn",
            field,
            "value",
        )
    needed = frozenset(other for name in members for other in needs.needs[name])
    return Group(members, needed - members, entities[0] if entities else None)


def _ready(waiting: Sequence[Group], done: frozenset[str], entity: str) -> list[Group]:
    """What a pass of the entity can take, one after the other."""
    taken: list[Group] = []
    more = True
    while more:
        known = done.union(*(group.members for group in taken))
        more = False
        for group in waiting:
            if group not in taken and group.entity in (None, entity) and group.needs <= known:
                taken.append(group)
                more = True
    return taken


def _next_entity(waiting: Sequence[Group], done: frozenset[str]) -> str:
    """One that has all it needs, else one that can begin; the user before others, and these by name."""
    entities = sorted({group.entity for group in waiting if group.entity}, key=lambda entity: (entity != USER, entity))
    able = []
    for entity in entities:
        taken = {group for group in _ready(waiting, done, entity) if group.entity}
        if taken == {group for group in waiting if group.entity == entity}:
            return entity
        if taken:
            able.append(entity)
    return able[0] if able else USER


def _components(needs: Mapping[str, Sequence[str]]) -> Iterator[frozenset[str]]:
    """The sets of names that need each other (R. Tarjan, Depth-first search and linear graph algorithms, SIAM Journal
    on Computing 1, 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: list[str] = []

    def visit(name: str) -> Iterator[frozenset[str]]:
        number[name] = lowest[name] = len(number)
        open_names.append(name)
        for other in needs[name]:
            if other not in number:
                yield from visit(other)
            if other in open_names:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == number[name]:
            start = open_names.index(name)
            yield frozenset(open_names[start:])
            del open_names[start:]

    for name in sorted(needs):
        if name not in number:
            yield from visit(name)
