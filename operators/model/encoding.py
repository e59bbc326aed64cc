"""A transaction and its row of features become the model's inputs: a sparse dict of readable names.

One Python function is generated for the whole specification, so that an event costs no walk over it.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from math import log1p, sqrt
from typing import Any

from operators.expressions import GLOBALS, ExpressionError, Kind, Name, compile_condition, compile_source, parse
from operators.features.plan import Plan
from operators.model.specification import FeatureSpec, ModelError, Specification
from operators.transactions.records import Transaction

Input = dict[str, float]
Row = Sequence[float | int | str | None]

WANTED: Mapping[str, Kind] = {"onehot": "text", "flag": "boolean"}  # every other transform takes a number

IS_KNOWN = " is known"
"""What a standardised feature's companion is called: 1 where the value is there. A scaled feature that is absent is
not the same as one of value 0, and only the companion's weight can carry the scaler's mean without the difference."""


class Encoder:
    """Encodes batches of transactions for one model. No state: the same transaction and row give the same input.

    Values that are 0 and features whose value is missing (or not finite) are left out; a standardised one that is
    there is kept even at 0. `vocabulary` is every name that can occur. Raises ModelError where an expression has
    another kind than its transform takes, or names what the plan does not offer.
    """

    def __init__(self, specification: Specification, plan: Plan) -> None:
        source = _Source(plan)
        for when, features in groupby(specification.features, key=lambda feature: feature.when):
            source.block(when, list(features))
        self.source = "\n".join(source.lines)
        self.vocabulary = tuple(source.vocabulary)
        self.reads: Mapping[str, tuple[str, ...]] = source.vocabulary
        """The names of fields and features that an encoded name is made of."""
        scope = dict(source.scope)
        exec(compile(self.source, f"<model {specification.name}>", "exec"), scope)  # noqa: S102  checked names only
        self._encode: Callable[[Sequence[Transaction], Sequence[Row]], list[Input]] = scope["encode"]

    def encode(self, transactions: Sequence[Transaction], rows: Sequence[Row]) -> list[Input]:
        """One input per transaction, in order; `rows` are the plan's columns of the same transactions."""
        return self._encode(transactions, rows)


class _Source:
    """The generated function, line by line, and the names it uses."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.vocabulary: dict[str, tuple[str, ...]] = {}
        self.reads: tuple[str, ...] = ()
        self.scope: dict[str, Any] = {
            **GLOBALS, "_bin": bisect_right, "_log1p": log1p, "_root": sqrt, "_number": float, "_zip": zip,
        }  # fmt: skip
        self.lines = [
            "def encode(transactions, rows):",
            "    xs = []",
            "    for t, f in _zip(transactions, rows, strict=True):",
            "        x = {}",
            "        xs.append(x)",
        ]
        self.tail = "    return xs"
        self.lines.append(self.tail)

    def block(self, when: str | None, features: list[FeatureSpec]) -> None:
        """Features that stand next to each other under the same condition test it once."""
        indent = " " * 8
        if when is not None:
            self.write(indent, f"if {self.condition(features[0], when)}:")
            indent += "    "
        for feature in features:
            self.reads = tuple(name for source in feature.expressions() for name in parse(source).names)
            value = self.value(feature)
            if feature.transform == "flag":
                self.write(indent, f"if {value.code}:", f"    x[{self.known(feature.name)}] = 1.0")
                continue
            self.write(indent, f"v = {value.code}")
            match feature.transform:
                case "bins":
                    names = self.constant([self.known(name) for name in bin_names(feature.name, feature.bins)])
                    edges = self.constant([repr(edge) for edge in feature.bins])
                    self.choice(indent, feature, value, f"x[{names}[_bin({edges}, v)]] = 1.0")
                case "onehot":
                    pairs = [f"{text!r}: {self.known(f'{feature.name} = {text}')}" for text in feature.values]
                    table = self.constant(pairs, "{}")
                    other = self.known(f"{feature.name} = other")
                    self.choice(indent, feature, value, f"x[{table}.get(v, {other})] = 1.0")
                case _:
                    self.number(indent, feature)

    def choice(self, indent: str, feature: FeatureSpec, value: Name, one: str) -> None:
        """One of several names is 1; a missing value is none of them, or has a name of its own."""
        if not value.nullable:
            self.write(indent, one)
            return
        self.write(indent, "if v is not None:", f"    {one}")
        if feature.missing:
            self.write(indent, "else:", f"    x[{self.known(f'{feature.name} = missing')}] = 1.0")

    def number(self, indent: str, feature: FeatureSpec) -> None:
        """A number of its own size. `v - v == 0` is false for what is infinite or not a number."""
        name = self.known(feature.name)
        if feature.transform == "standardise":
            known = self.known(feature.name + IS_KNOWN)
            self.write(indent, "if v is not None and v - v == 0:", f"    x[{name}] = _number(v)")
            self.write(indent, f"    x[{known}] = 1.0")
            return
        code = {
            "number": "_number(v)",
            "log": "_log1p(v) if v > 0 else -_log1p(-v)",
            "sqrt": "_root(v) if v > 0 else -_root(-v)",
            "clip": f"_number(_max({_bound(feature.low)}, _min(v, {_bound(feature.high)})))",
        }[feature.transform]
        self.write(indent, "if v is not None and v - v == 0:", f"    v = {code}", "    if v:", f"        x[{name}] = v")

    def value(self, feature: FeatureSpec) -> Name:
        try:
            value = compile_source(parse(feature.value), self.plan.name)
        except ExpressionError as error:
            raise ModelError(f"feature {feature.name!r}: {error}\n{error.caret()}") from error
        wanted = WANTED.get(feature.transform, "number")
        if value.kind != wanted:
            raise ModelError(
                f"feature {feature.name!r}: transform {feature.transform!r} takes a {wanted}, "
                f"and {feature.value!r} is a {value.kind}"
            )
        return value

    def condition(self, feature: FeatureSpec, when: str) -> str:
        try:
            return compile_condition(parse(when), self.plan.name)
        except ExpressionError as error:
            raise ModelError(f"feature {feature.name!r}, `when`: {error}\n{error.caret()}") from error

    def known(self, name: str) -> str:
        """`name` entered into the vocabulary, as a literal."""
        if name in self.vocabulary:
            raise ModelError(f"two features are both encoded as {name!r}: rename one")
        self.vocabulary[name] = self.reads
        return repr(name)

    def constant(self, members: list[str], brackets: str = "()") -> str:
        """A constant of the module, built once: its name."""
        name = f"_c{len(self.scope)}"
        self.scope[name] = None
        self.lines.insert(0, f"{name} = {brackets[0]}{''.join(member + ', ' for member in members)}{brackets[1]}")
        return name

    def write(self, indent: str, *lines: str) -> None:
        self.lines[-1:] = [*(indent + line for line in lines), self.tail]


def bin_names(name: str, edges: Sequence[float]) -> list[str]:
    """What the bins are called: below the first edge, from each edge (included) to the next (not), from the last."""
    inner = [f"{name} in {_plain(low)}..{_plain(high)}" for low, high in pairwise(edges)]
    return [f"{name} < {_plain(edges[0])}", *inner, f"{name} >= {_plain(edges[-1])}"]


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def _bound(number: float) -> str:
    return repr(number) if number - number == 0 else ("1e999" if number > 0 else "-1e999")
