"""Which features and fields are kept: those that a rule or the model names, each entity's apart."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from operators.expressions import Name, Namespace, UnknownName
from operators.features.fields import Derived, Fields
from operators.features.meaning import DAY, STATELESS, Type
from operators.features.names import ALIASES, AMOUNTS, TEXTS, Feature, nearest
from operators.features.passes import passes_of

IDLE: Final = 365 * DAY
"""How long a key is kept after its last event for what has no end of its own (the last N, ever, since the last)."""
NO_FIELDS: Final = Fields()


@dataclass(frozen=True)
class LabelMemory:
    """What is remembered of transactions until their labels come: the keys in `keys` (fields of the transaction) and
    the derived `fields` that are true or false. For `maturity` milliseconds, of `room` transactions a key group."""

    maturity: int = 30 * DAY
    room: int = 1_000_000
    keys: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class EntityPlan:
    """The window features of one entity. `field` of a transaction holds its key; times in milliseconds.

    `derived` fields are computed with them, in this order; `given` are the columns of the rows so far, which an entity
    that is gone through later can use; `fields` are all derived fields. `name` is the entity's, with a number where an
    entity is gone through again.
    """

    entity: str
    field: str
    features: tuple[Feature, ...]
    allowed_lateness: int
    repeats: bool = False
    """Whether a repeated `transaction_id` is recognised."""
    derived: tuple[Derived, ...] = ()
    given: Mapping[str, Name] = dataclasses.field(default_factory=dict)
    fields: Fields = NO_FIELDS
    name: str = "user"
    label_keys: tuple[str, ...] = ()
    """The keys that completed labels have, in order."""
    memory: LabelMemory | None = None
    """What it remembers of its transactions to complete labels by; None where that is not done here."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values in a row of `Windows.update`, in order."""
        return (*(feature.name for feature in self.features), *(derived.name for derived in self.derived))

    @property
    def types(self) -> Mapping[str, Type]:
        """Of all derived fields."""
        return self.fields.types

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the rows so far that are needed."""
        used = {feature.field for feature in self.features if not feature.of_labels}
        used = used.union(
            *(derived.expression.names for derived in self.derived), self.memory.fields if self.memory else ()
        )
        return tuple(name for name in self.given if name in used)

    def is_text(self, field: str) -> bool:
        """Whether the field's values are texts."""
        return field in TEXTS or (field in self.types and self.types[field].kind == "text")

    def can_lack(self, field: str) -> bool:
        """Whether an event may be without the field. An event from before a derived one was kept is."""
        return {**TEXTS, **AMOUNTS}.get(field, True)

    @property
    def span(self) -> int:
        """The longest window that has a length in time; 0 where there is none."""
        return max((warm_after(feature) for feature in self.features if not feature.of_labels), default=0)

    @property
    def furthest_back(self) -> int:
        """How far behind its key's latest event one may lie whose windows must be complete.

        A repeat may be as late as any event, and what it repeats as far behind it.
        """
        return 2 * self.allowed_lateness + 1 if self.repeats else self.allowed_lateness

    @property
    def last(self) -> int:
        """How many events before any event must be kept whatever their age."""
        counted = [f.window.length for f in self.features if f.window and f.window.kind == "last" and not f.of_labels]
        counted += [1 for f in self.features if f.aggregate == "seconds_since_last"]
        return max(counted, default=0)

    @property
    def endless(self) -> bool:
        """Whether a feature looks further back than any length of time."""
        return any((f.window is None or f.window.kind in ("last", "ever")) for f in self.features if not f.of_labels)

    @property
    def has_labels(self) -> bool:
        """Whether a feature is made of labels."""
        return any(feature.of_labels for feature in self.features)

    @property
    def takes_told_labels(self) -> bool:
        """Whether labels are wanted as they came."""
        return any(feature.of_told_labels for feature in self.features)

    @property
    def takes_completed_labels(self) -> bool:
        """Whether labels are wanted with what their transaction had."""
        return any(feature.of_completed_labels for feature in self.features)

    @property
    def label_fields(self) -> tuple[str | None, ...]:
        """Of which labels features are made: those whose transaction had a field, or (None) all."""
        return tuple(dict.fromkeys(feature.field for feature in self.features if feature.of_labels))

    @property
    def retention(self) -> int:
        """How long a key that has no further event is remembered, at least."""
        return max(self.span + self.furthest_back, IDLE if self.endless else 0)


@dataclass(frozen=True)
class Plan:
    """All features and fields that are kept, and what a name in an expression stands for (`name` is a `Namespace`)."""

    entities: tuple[EntityPlan, ...]
    columns: tuple[str, ...]
    fields: Fields = NO_FIELDS

    @classmethod
    def of(
        cls,
        names: Iterable[str],
        *,
        allowed_lateness: int,
        repeats: bool = False,
        fields: Fields = NO_FIELDS,
        memory: LabelMemory | None = None,
    ) -> "Plan":
        """The plan for every name that a rule or a model uses. Raises UnknownName, FieldError.

        With `repeats` the user's windows recognise a repeated `transaction_id`; they are there in any case then.
        `memory` bounds what is remembered to complete labels by, where features need that.
        """
        passes, label_fields = passes_of(names, fields, user_first=repeats)
        keys = {f.key_field for each in passes for f in each.features if f.of_completed_labels}
        memory = memory or LabelMemory()
        remembered = LabelMemory(memory.maturity, memory.room, tuple(sorted(keys)), label_fields)
        entities: list[EntityPlan] = []
        given: dict[str, Name] = {}
        for number, each in enumerate(passes):
            times = sum(other.entity == each.entity for other in passes[: number + 1])
            entity = EntityPlan(
                each.entity,
                ALIASES.get(each.entity, each.entity),
                tuple(each.features),
                allowed_lateness,
                repeats and number == 0,
                tuple(fields[name] for name in each.fields),
                dict(given),
                fields,
                each.entity if times == 1 else f"{each.entity}_{times}",
                remembered.keys,
                remembered if each.completes else None,
            )
            given |= {
                name: fields.meaning(name)._replace(code=f"f[{number}]")
                for number, name in enumerate(entity.columns, len(given))
            }
            entities.append(entity)
        return cls(tuple(entities), tuple(given), fields)

    @property
    def made_of(self) -> dict[str, frozenset[str]]:
        """For each derived field the columns of features that its value at an event is made of."""
        made: dict[str, frozenset[str]] = {}
        for name in (name for name in self.fields.types if name in self.columns):
            used = self.fields[name].expression.names
            features = frozenset(used) & frozenset(self.columns) - self.fields.types.keys()
            made[name] = features.union(*(made[field] for field in used if field in made))
        return made

    def warm_after(self, column: str) -> int:
        """How long (ms) events must have been coming in until the column's window is full.

        0 for what has no length in time (the last N, ever, since the last): that starts with the first event. A derived
        field is full with the windows that its expression names.
        """
        if column in self.fields:
            used = (name for name in self.fields[column].expression.names if name not in STATELESS)
            return max((self.warm_after(name) for name in used if name != column), default=0)
        return warm_after(self.fields.feature(column))

    def name(self, name: str) -> Name:
        """What `name` is: source over the transaction `t` and the row `f`, its kind, and whether it can be missing.

        Raises UnknownName, also for a feature that the plan does not keep.
        """
        if known := STATELESS.get(name):
            return known
        if name in self.columns:
            return self.fields.meaning(name)._replace(code=f"f[{self.columns.index(name)}]")
        if name not in self.fields:
            self.fields.feature(name)
        why = "a feature that is not kept, as no rule or model named it at the start"
        raise UnknownName(name, nearest(name, self.fields.kinds), why)


def known_in(fields: Fields) -> Namespace:
    """What names are in a flow that keeps them. Raises UnknownName where there can be none, FieldError for a circle."""

    def known(name: str) -> Name:
        return Plan.of((name,), allowed_lateness=0, fields=fields).name(name)

    return known


def warm_after(feature: Feature) -> int:
    """How long (ms) events must have been coming in until the window is full; 0 where it has no length in time."""
    window = feature.window
    return window.length if window and window.kind in ("trailing", "tumbling") else 0
