"""What can be proved of rules without any transaction: never true, always true, implied by another.

A condition is turned into alternatives, each a set of facts about single values (`amount > 5`, `country` in a set,
`mean_amount_1h` missing). One is impossible when the facts on one value leave nothing of what the value can be; a rule
is never true when all its alternatives are impossible. What is not a comparison of a name with a constant counts as a
fact that may hold or not, the same wherever it stands. So every claim is true; what is too involved gives none.
"""

import ast
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Final, NamedTuple

from operators.expressions import Expression, Namespace, parse
from operators.features.meaning import STATELESS
from operators.features.names import parse_feature
from operators.rules.checking import known_name
from operators.rules.rule_set import SEVERITIES, Rule
from operators.rules.unused import unused_part

MOST_ALTERNATIVES: Final = 256
EXACT: Final = 2**53
"""Beyond it a float is not every whole number, and nothing is claimed."""
FORMATS: Final = frozenset({"simple", "card", "paysim"})
FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
SIGNS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="
}  # fmt: skip
VERDICTS: Final = ("review", "block")

Constant = float | int | str | bool


class Warned(NamedTuple):
    """Something that is allowed, and hardly meant."""

    rule: str
    message: str


class Fact(NamedTuple):
    """One thing that holds of one value. `sign` is a comparison, `in`, `not in`, `missing`, or `is` (a condition that
    holds or not, as `constants` says); all but `missing` say that the value is there."""

    subject: str
    sign: str
    constants: frozenset[Constant]


Alternative = frozenset[Fact]


class TooInvolved(Exception):
    """More alternatives than are looked at."""


def lint(rules: Sequence[Rule], known: Namespace = known_name) -> list[Warned]:
    """What can be proved of the rules, which must compile with `known`."""
    warned: list[Warned] = []
    sound: list[Rule] = []
    prover = Prover(known)
    for rule in rules:
        if prover.never(rule):
            warned.append(Warned(rule.id, "is never true"))
        elif prover.always(rule):
            warned.append(Warned(rule.id, "is always true"))
        else:
            sound.append(rule)
            if part := unused_part(rule, prover.implies):
                warned.append(Warned(rule.id, f"says the same without `{part}`"))
        if rule.mode == "shadow" and rule.cooldown_ms:
            warned.append(Warned(rule.id, "has a cooldown, which a shadow rule has no use for"))
    for number, rule in enumerate(sound):
        told = next((told for other in sound if (told := _needless(rule, other, prover, sound[:number]))), "")
        if told:
            warned.append(Warned(rule.id, told))
    return warned


def _needless(rule: Rule, other: Rule, prover: "Prover", earlier: Sequence[Rule]) -> str:
    """Why `rule` adds nothing to `other`; empty where it may. Of two that say the same the later one is needless."""
    if rule is other or not _covers(other, rule) or not prover.implies(rule, other):
        return ""
    if not prover.implies(other, rule):
        return f"is implied by {other.id!r}: where it fires, that one does, no less severe"
    if other in earlier or not _covers(rule, other):
        return f"says the same as {other.id!r}, which is no less severe"
    return ""


def _covers(rule: Rule, other: Rule) -> bool:
    """Whether an alert by `rule` is at least what one by `other` would be."""
    return (
        (rule.mode == "active" or other.mode == "shadow")
        and SEVERITIES.index(rule.severity) >= SEVERITIES.index(other.severity)
        and VERDICTS.index(rule.decision) >= VERDICTS.index(other.decision)
        and rule.cooldown_ms <= other.cooldown_ms
    )


class Prover:
    """Proves of rules by their alternatives, which it keeps."""

    def __init__(self, known: Namespace) -> None:
        self.known = known
        self._held: dict[tuple[str, bool], list[Alternative] | None] = {}

    def never(self, rule: Rule) -> bool:
        """Whether it can't fire."""
        return self._alternatives(rule, True) == []

    def always(self, rule: Rule) -> bool:
        """Whether it fires at every transaction."""
        return self._alternatives(rule, False) == []

    def implies(self, rule: Rule, other: Rule) -> bool:
        """Whether `other` fires wherever `rule` does."""
        fires, spares = self._alternatives(rule, True), self._alternatives(other, False)
        if fires is None or spares is None or len(fires) * len(spares) > MOST_ALTERNATIVES:
            return False
        return not any(self._possible(one | other) for one, other in product(fires, spares))

    def _alternatives(self, rule: Rule, holds: bool) -> list[Alternative] | None:
        """Those that are possible; None where there are too many to tell."""
        key = rule.when, holds
        if key not in self._held:
            expression = parse(rule.when)
            try:
                found = _Reader(expression, self.known).read(expression.tree, holds)
                self._held[key] = [alternative for alternative in found if self._possible(alternative)]
            except TooInvolved:
                self._held[key] = None
        return self._held[key]

    def _possible(self, alternative: Alternative) -> bool:
        subjects: dict[str, list[Fact]] = {}
        for fact in alternative:
            subjects.setdefault(fact.subject, []).append(fact)
        return all(_leaves_something(self.known, subject, facts) for subject, facts in subjects.items())


class _Reader:
    """Reads an expression into alternatives."""

    def __init__(self, expression: Expression, known: Namespace) -> None:
        self.expression = expression
        self.known = known

    def read(self, node: ast.expr, holds: bool) -> list[Alternative]:
        """When the condition holds, or when it does not."""
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.read(value, holds) for value in values]
                return _all_of(parts) if isinstance(op, ast.And) == holds else _any_of(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.read(operand, not holds)
            case ast.Constant(value=bool() as value):
                return [frozenset()] if value == holds else []
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                steps = zip(pairwise([left, *comparators]), ops, strict=True)
                parts = [self.comparison(a, op, b, holds) for (a, b), op in steps]
                return _all_of(parts) if holds else _any_of(parts)
            case ast.Name(id=name):
                return self.fact(name, "is", frozenset({True}), holds)
            case ast.Call(func=ast.Name(id="missing"), args=[ast.Name(id=name)]):
                present = Fact(name, "not in", frozenset())
                return [frozenset({Fact(name, "missing", frozenset()) if holds else present})]
        return self.opaque(node, holds)

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr, holds: bool) -> list[Alternative]:
        if (
            isinstance(left, ast.Name)
            and isinstance(op, ast.In | ast.NotIn)
            and isinstance(right, ast.Tuple | ast.List)
        ):
            members = [_constant(element) for element in right.elts]
            if None not in members:
                sign = "in" if isinstance(op, ast.In) else "not in"
                return self.fact(left.id, sign, frozenset(member for member in members if member is not None), holds)
        sign = SIGNS.get(type(op), "")
        if isinstance(right, ast.Name) and _constant(left) is not None and sign:
            left, right, sign = right, left, FLIPPED[sign]
        constant = _constant(right)
        if isinstance(left, ast.Name) and constant is not None and not isinstance(constant, bool) and sign:
            return self.fact(left.id, sign, frozenset({constant}), holds)
        return self.opaque(ast.Compare(left, [op], [right]), holds)

    def fact(self, name: str, sign: str, constants: frozenset[Constant], holds: bool) -> list[Alternative]:
        """A fact, or what is left where it is not one: the value is missing, or the opposite holds."""
        if holds:
            return [frozenset({Fact(name, sign, constants)})]
        if sign == "is":
            opposite = Fact(name, "is", frozenset({False}))
        elif sign in ("in", "not in"):
            opposite = Fact(name, "in" if sign == "not in" else "not in", constants)
        else:
            opposite = Fact(name, OPPOSITE[sign], constants)
        missing = [frozenset({Fact(name, "missing", frozenset())})] if self.known(name).nullable else []
        return [frozenset({opposite}), *missing]

    def opaque(self, node: ast.expr, holds: bool) -> list[Alternative]:
        """A condition that is not looked into."""
        return [frozenset({Fact(f"({ast.unparse(node)})", "is", frozenset({holds}))})]


def _any_of(parts: Sequence[list[Alternative]]) -> list[Alternative]:
    found = list(dict.fromkeys(alternative for part in parts for alternative in part))
    if len(found) > MOST_ALTERNATIVES:
        raise TooInvolved
    return found


def _all_of(parts: Sequence[list[Alternative]]) -> list[Alternative]:
    found: list[Alternative] = [frozenset()]
    for part in parts:
        if len(found) * len(part) > MOST_ALTERNATIVES:
            raise TooInvolved
        found = list(dict.fromkeys(one | other for one, other in product(found, part)))
    return found


def _constant(node: ast.expr) -> Constant | None:
    """The value of a constant, also of a signed one."""
    match node:
        case ast.Constant(value=bool() | str() as value):
            return value
        case ast.Constant(value=int() | float() as value) if abs(value) < EXACT:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if abs(value) < EXACT:
            return -value
    return None


def _leaves_something(known: Namespace, subject: str, facts: Sequence[Fact]) -> bool:
    """Whether the value can be what all facts say."""
    opaque = subject.startswith("(")
    if any(fact.sign == "missing" for fact in facts):
        return len({fact.sign for fact in facts}) == 1 and (opaque or known(subject).nullable)
    kind = "boolean" if opaque else known(subject).kind
    if kind == "boolean":
        return len({fact.constants for fact in facts if fact.sign == "is"}) < 2
    return _number_left(subject, facts) if kind == "number" else _text_left(subject, facts)


def _text_left(subject: str, facts: Sequence[Fact]) -> bool:
    allowed: frozenset[Constant] | None = FORMATS if subject == "format" else None
    excluded: frozenset[Constant] = frozenset()
    for fact in facts:
        if fact.sign in ("==", "in"):
            allowed = fact.constants if allowed is None else allowed & fact.constants
        else:
            excluded |= fact.constants
    return allowed is None or bool(allowed - excluded)


def _number_left(subject: str, facts: Sequence[Fact]) -> bool:
    low, high, whole = _range(subject)
    open_low = open_high = False
    allowed: frozenset[Constant] | None = None
    excluded: frozenset[Constant] = frozenset()
    for fact in facts:
        if fact.sign in ("==", "in"):
            allowed = fact.constants if allowed is None else allowed & fact.constants
        elif fact.sign in ("!=", "not in"):
            excluded |= fact.constants
        else:
            (constant,) = fact.constants
            bound = float(constant)
            if fact.sign in (">", ">="):
                low, open_low = max((low, open_low), (bound, fact.sign == ">"))
            else:
                negative, open_high = max((-high, open_high), (-bound, fact.sign == "<"))
                high = -negative

    def fits(value: float) -> bool:
        inside = low <= value <= high and not (open_low and value == low) and not (open_high and value == high)
        return inside and value not in excluded and (not whole or value == math.floor(value))

    if allowed is not None:
        return any(fits(float(value)) for value in allowed)
    if whole:
        first = low if low == -math.inf else math.floor(low)
        if high - first > len(excluded) + 2:
            return True
        return any(fits(first + step) for step in range(int(high - first) + 1)) if high >= first else False
    return low < high or fits(low)


def _range(name: str) -> tuple[float, float, bool]:
    """The least and the greatest value that a number can have, and whether it is whole: by the windows' contract."""
    if name in STATELESS:
        return {
            "amount": (0.0, math.inf, False),
            "hour_of_day": (0.0, 23.0, True),
            "latitude": (-90.0, 90.0, False),
            "longitude": (-180.0, 180.0, False),
        }.get(name, (-math.inf, math.inf, False))
    try:
        feature = parse_feature(name)
    except ValueError:
        return -math.inf, math.inf, False
    if feature.aggregate == "count":
        return (0.0 if feature.before else 1.0), math.inf, True
    if feature.aggregate == "distinct":
        return 0.0, math.inf, True
    positive = feature.aggregate in ("std", "seconds_since_last", "speed_kmh") or feature.field == "amount"
    return (0.0 if positive else -math.inf), math.inf, False
