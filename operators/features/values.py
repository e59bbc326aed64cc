"""The source of each feature's value, of each derived field's, and of a row of them."""

from operators.expressions import Name, Namespace, compile_source
from operators.features.aggregates import UNIT
from operators.features.busy import BUSY_FROM
from operators.features.entries import computed
from operators.features.fields import Derived
from operators.features.layout import DROPPED, PLACE, SQUARE_BITS, SQUARES, Column, Found, Layout
from operators.features.meaning import STATELESS, is_nullable, kind_of
from operators.features.names import Feature


class Values:
    """Expressions for a row, and in `lines` the statements that they need first.

    The latest event's windows are followed by what is kept from event to event; those of one that is `late` are looked
    through. For the names in the source see generate.py.
    """

    def __init__(self, layout: Layout, *, late: bool, entering: bool = False, stored: bool = False) -> None:
        """`entering`: derived fields are put into the log, which does not hold them yet. `stored`: there is no
        transaction, and of the derived fields only what the log holds."""
        self.layout = layout
        self.late = late
        self.entering = entering or not late
        self.stored = stored
        self.lines: list[str] = []
        self._shared: dict[str, str] = {}
        self._named: dict[str, str] = {}

    def row(self) -> str:
        """The tuple of all features' values, and of the derived fields."""
        plan = self.layout.plan
        self.derive()
        values = [self._named.get(f.name) or self.value(n, f) for n, f in enumerate(plan.features)]
        return _tuple([*values, *(f"x_{derived.name}" for derived in plan.derived)])

    def without_key(self) -> tuple[list[str], str]:
        """The same for a transaction without the entity, and the lines for it."""
        plan = self.layout.plan
        for derived in plan.derived:
            self.lines += derived_value(derived, lambda name: self.meaning(name, known=False))
        return self.lines, _tuple(
            [*("None" for _ in plan.features), *(f"x_{derived.name}" for derived in plan.derived)]
        )

    # --- derived fields

    def derive(self) -> None:
        """Lines for all derived fields."""
        for derived in self.layout.plan.derived:
            self._derive(derived)

    def _derive(self, derived: Derived) -> None:
        """Lines for one, after those for the features that it names."""
        if self.stored:
            self.lines.append(f"x_{derived.name} = {self._stored(derived)}")
            return
        for number, feature in enumerate(self.layout.plan.features):
            if feature.name in derived.expression.names and feature.name not in self._named:
                value = self.value(number, feature)
                name = self._named[feature.name] = f"v{number}"
                self.lines += [f"{name} = {value}"] if value != name else []
        self.lines += derived_value(derived, self.meaning)
        if self.entering:
            self.lines += computed(self.layout, derived.name)

    def _stored(self, derived: Derived) -> str:
        """The source of the value that the log holds, None where it holds none."""
        own = self.layout.own(derived.name)
        if own not in self.layout.columns:
            return "None"
        read = (
            "text" if self.layout.plan.is_text(derived.name) else "flag" if derived.type.kind == "boolean" else "amount"
        )
        return f"{read}(w{self.layout.index(own)})"

    def meaning(self, name: str, *, known: bool = True) -> Name:
        """What a name in a derived field's expression is here; `known`: whether the event has the entity."""
        plan = self.layout.plan
        types = {derived.name: derived.type for derived in plan.derived}
        if name in types:
            return Name(f"x_{name}", *types[name])
        feature = next((feature for feature in plan.features if feature.name == name), None)
        if feature is not None:
            kinds = {field: type.kind for field, type in plan.types.items()}
            code = self._named[name] if known else "None"
            return Name(code, kind_of(feature, kinds), is_nullable(feature, plan.types) or not known)
        return plan.given[name] if name in plan.given else STATELESS[name]

    def value(self, number: int, feature: Feature) -> str:
        """The expression of the value of feature `number`."""
        layout, field = self.layout, feature.field
        if feature.aggregate == "seconds_since_last":
            return f"((at - last) / 1000 if o > {layout.first} else None)"
        if feature.aggregate == "speed_kmh":
            own, times, places = (layout.index(Column(k, PLACE, PLACE)) for k in ("own", "carry_time", "carry"))
            return f"speed_kmh(w{own}, q{places}, at - q{times})"
        if feature.of_labels:
            return self.labels(feature)
        if feature.aggregate == "count":
            return self.events(feature)
        assert field is not None
        match feature.aggregate:
            case "sum":
                return f"{self.difference(feature, 'amount')} / {UNIT}"
            case "mean" | "std":
                return self.moment(feature, field)
            case "min" | "max":
                return self.extreme(number, feature, field)
            case "last":
                return self.last(feature, field)
            case "distinct":
                return self.distinct(number, feature, field)
            case _:
                return self.is_new(number, feature, field)

    # --- where a window begins and what it holds

    def low(self, feature: Feature) -> str:
        """The place before the feature's window."""
        window, first = feature.window, self.layout.first
        assert window is not None
        if window.kind == "last":
            high = _high(feature)
            back = window.length * self.layout.size  # a conditional costs half of what max() does
            return self.shared(f"l{window.length}{high}", f"{high} - {back} if {high} > {first + back} else {first}")
        return str(first) if window.kind == "ever" else f"h{self.layout.head_slots[window]}"

    def events(self, feature: Feature) -> str:
        """The number of events in the window."""
        low, high = self.low(feature), _high(feature)
        ever = feature.window and feature.window.kind == "ever"
        dropped = f" + a[{DROPPED}]" if ever else ""
        return self.shared(f"n_{low}_{high}", f"({high} - {low}) // {self.layout.size}{dropped}")

    def difference(self, feature: Feature, content: str) -> str:
        """What the window adds to a column of sums."""
        assert feature.window is not None
        k = self.layout.index(Column("sum", content, feature.field or ""))
        total = f"{'q' if feature.before else 'p'}{k}"
        if feature.window.kind == "ever":
            return total
        low = self.low(feature)
        return self.shared(f"d{k}_{low}_{_high(feature)}", f"{total} - a[{low} + {k}]")

    def values(self, feature: Feature, k: int) -> str:
        """The own values in the window."""
        high = _high(feature)
        end = "" if high == "e" and not self.late else f"{high} + {k + 1}"
        return f"a[{_plus(self.low(feature), self.layout.size + k)}:{end}:{self.layout.size}]"

    def is_busy(self, feature: Feature) -> str:
        """Whether the window is too long to be looked through."""
        return f"{_high(feature)} - {self.low(feature)} > {BUSY_FROM * self.layout.size}"

    def shared(self, name: str, expression: str) -> str:
        """A variable for what several features may need."""
        if self._shared.setdefault(name, expression) is expression:
            self.lines.append(f"{name} = {expression}")
        return name

    # --- aggregates

    def labels(self, feature: Feature) -> str:
        """How many labels were fraud, or the rate of fraud among them."""
        window = feature.window
        assert window is not None
        call = {
            "trailing": f"within(key, now - {window.length}, now)",
            "last": f"last(key, {window.length}, now)",
            "ever": "ever(key, now)",
        }
        of = f"logs.labels[{feature.field!r}]"
        found = self.shared(f"f_{feature.field}_{window.kind}_{window.length}", f"{of}.{call[window.kind]}")
        return f"{found}[1]" if feature.aggregate == "fraud_count" else f"rate(*{found})"

    def moment(self, feature: Feature, field: str) -> str:
        """The mean or the standard deviation."""
        lacking = self.layout.plan.can_lack(field)
        known = self.difference(feature, "known") if lacking else self.events(feature)
        total = self.difference(feature, "amount")
        if feature.aggregate == "std":
            # The sample standard deviation (divisor n - 1), from exact sums.
            low, middle, high = (self.difference(feature, content) for content in SQUARES)
            squares = f"{low} + ({middle} + ({high} << {SQUARE_BITS}) << {SQUARE_BITS})"
            variance = f"({known} * ({squares}) - {total} * {total}) / ({known} * ({known} - 1))"
            return f"(sqrt({variance}) / {UNIT} if {known} > 1 else None)"
        if lacking or feature.before:
            return f"mean({total}, {known})"
        return f"{total} / ({UNIT} * {known})"

    def extreme(self, number: int, feature: Feature, field: str) -> str:
        """The minimum or the maximum: the latest event's is searched again only when it has left the window."""
        assert feature.window is not None
        layout, aggregate = self.layout, feature.aggregate
        k = layout.index(layout.own(field))
        lacking = layout.plan.can_lack(field)
        ever = feature.window.kind == "ever"
        which = "least" if aggregate == "min" else "most"
        dropped = f"a[{layout.extreme_slots[aggregate, field]}]" if ever else ""
        if self.late:
            values = self.values(feature, k)
            return f"amount({which}(({dropped}, *{values})))" if ever else f"amount({which}({values}))"
        slot = layout.found_slots[Found(aggregate, field, feature.window, feature.before)]
        low, high = self.low(feature), _high(feature)
        own = f"a[o + {k}]" if feature.before else f"w{k}"
        beats = f"{own} {'<' if aggregate == 'min' else '>'}= a[m + {k}]"
        known = f"{own} and " if lacking else ""
        v = f"v{number}"
        followed = [
            f"m = a[{slot}]",
            f"if m > {low}:",
            f"    if {known}{beats}: a[{slot}] = m = {high}",
            "else:",
            f"    m = {which}_at({self.values(feature, k)})",
            f"    if m: m = {low} + m * {layout.size}",
            f"    a[{slot}] = m",
        ]
        if not ever:
            sign = 1 if aggregate == "min" else -1
            followed = [
                f"if {self.is_busy(feature)}:",
                f"    a[{slot}] = m = extreme(key, {slot}, {k}, {sign}).place(a, {low}, {high})",
                "else:",
                *(f"    {line}" for line in followed),
            ]
        found = f"a[m + {k}]"
        if ever:
            value = f"amount({which}(({dropped}, {found} if m else 0)))"
        elif lacking:
            value = f"amount({found}) if m else None"
        else:
            value = f"({found} - 1) / {UNIT}" + (" if m else None" if feature.before else "")
        self.lines += [*followed, f"{v} = {value}"]
        return v

    def last(self, feature: Feature, field: str) -> str:
        """The value of the latest event that has one."""
        assert feature.window is not None
        layout, own = self.layout, self.layout.own(field)
        if feature.window.kind == "last":
            value = f"latest({self.values(feature, layout.index(own))})"
        else:
            times, carry = (layout.index(own._replace(kind=kind)) for kind in ("carry_time", "carry"))
            q = "q" if feature.before else "p"
            value = f"{q}{carry}"
            if feature.window.kind != "ever":
                value = f"({value} if {q}{times} > b{layout.head_slots[feature.window]} else 0)"
        if layout.plan.is_text(field):
            return f"text({value})"
        is_flag = field in layout.plan.types and layout.plan.types[field].kind == "boolean"
        return f"flag({value})" if is_flag else f"amount({value})"

    def distinct(self, number: int, feature: Feature, field: str) -> str:
        """The number of different values."""
        assert feature.window is not None
        k = self.layout.index(self.layout.own(field))
        values = self.values(feature, k)
        if feature.window.kind == "ever":
            return f"distinct_ever({values}, seen(key), {self.layout.seen.index(self.layout.own(field))})"
        nullable = self.layout.plan.can_lack(field)
        plain = f"len(d := set({values}))" + (" - (0 in d)" if nullable else "")
        if self.late:
            return f"({plain})"
        lines = [
            f"if {self.is_busy(feature)}:",
            f"    v{number} = counter(key, {number}, {k}).distinct(a, {self.low(feature)}, {_high(feature)})",
        ]
        if not feature.before:
            alone = f"(1 if w{k} else 0)" if nullable else "1"
            lines += [f"elif o == {self.low(feature)}:", f"    v{number} = {alone}"]
        self.lines += [*lines, "else:", f"    v{number} = {plain}"]
        return f"v{number}"

    def is_new(self, number: int, feature: Feature, field: str) -> str:
        """Whether the event's value is in none of the others of the window."""
        assert feature.window is not None
        k = self.layout.index(self.layout.own(field))
        values = self.values(feature, k)
        if feature.window.kind == "ever":
            return f"is_new_ever(w{k}, {values}, seen(key), {self.layout.seen.index(self.layout.own(field))})"
        plain = f"is_new(w{k}, {values})"
        if self.late:
            return plain
        has = f"counter(key, {number}, {k}).has(a, {self.low(feature)}, {_high(feature)}, w{k})"
        self.lines += [
            f"if {self.is_busy(feature)}:",
            f"    v{number} = not {has} if w{k} else None",
            "else:",
            f"    v{number} = {plain}",
        ]
        return f"v{number}"


def derived_value(derived: Derived, namespace: Namespace) -> list[str]:
    """Lines that put a derived field's value into `x_<field>`: a number as it is kept."""
    code = compile_source(derived.expression, namespace).code
    return [f"x_{derived.name} = {f'rounded({code})' if derived.type.kind == 'number' else code}"]


def _tuple(members: list[str]) -> str:
    return f"({''.join(f'{member}, ' for member in members)})"


def _high(feature: Feature) -> str:
    """The place of the last event of the window."""
    return "o" if feature.before else "e"


def _plus(place: str, offset: int) -> str:
    return str(int(place) + offset) if place.isdigit() else f"{place} + {offset}"
