"""A transaction and its row of features become the model's inputs: a sparse dict of readable names.

One Python function is generated for the whole specification, so that an event costs no walk over it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise, product
from math import log1p, sqrt
from typing import Any
from zlib import crc32

from operators.expressions import GLOBALS, ExpressionError, Kind, Name, compile_condition, compile_source, parse
from operators.features.plan import Plan
from operators.model.specification import FeatureSpec, ModelError, Specification
from operators.transactions.records import Transaction

Input = dict[str, float]
Row = Sequence[float | int | str | None]

WANTED: Mapping[str, Kind] = {"onehot": "text", "hashed": "text", "flag": "boolean"}  # all others take a number
MOST_CROSSED = 10_000
"""Combinations of one cross: more would be learned from too few examples each, and fill the weights' record."""

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
        crosses = [feature for feature in specification.features if feature.transform == "cross"]
        source.tell_apart(dict.fromkeys(name for cross in crosses for name in cross.features))
        own = (feature for feature in specification.features if feature.transform != "cross")
        for when, features in groupby(own, key=lambda feature: feature.when):
            source.block(when, list(features))
        known = {feature.name: feature for feature in specification.features}
        for cross in crosses:
            source.cross(cross, [known[name] for name in cross.features])
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
        self.places: dict[str, str] = {}
        self.scope: dict[str, Any] = {
            **GLOBALS,
            "_bin": bisect_right,
            "_bucket": bucket,
            "_log1p": log1p,
            "_root": sqrt,
            "_number": float,
            "_zip": zip,
        }
        self.lines = [
            "def encode(transactions, rows):",
            "    xs = []",
            "    for t, f in _zip(transactions, rows, strict=True):",
            "        x = {}",
            "        xs.append(x)",
        ]
        self.tail = "    return xs"
        self.lines.append(self.tail)

    def tell_apart(self, names: Iterable[str]) -> None:
        """Of these features the encoded name is kept for crosses: where it is kept."""
        self.places = {name: f"n{number}" for number, name in enumerate(names)}
        if self.places:
            self.write(" " * 8, f"{' = '.join(self.places.values())} = None")

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
                self.write(indent, f"if {value.code}:")
                self.one(indent + "    ", feature, repr(feature.name))
                self.enter(feature)
                continue
            self.write(indent, f"v = {value.code}")
            match feature.transform:
                case "bins":
                    names, edges = self.constant(bin_names(feature.name, feature.bins)), self.constant(feature.bins)
                    self.choice(indent, feature, value, f"{names}[_bin({edges}, v)]")
                case "onehot":
                    table = self.constant({text: f"{feature.name} = {text}" for text in feature.values})
                    self.choice(indent, feature, value, f"{table}.get(v, {f'{feature.name} = other'!r})")
                case "hashed":
                    names = self.constant(bucket_names(feature.name, feature.buckets))
                    self.choice(indent, feature, value, f"{names}[_bucket(v, {feature.buckets})]")
                case "hinge":
                    self.hinges(indent, feature)
                case _:
                    self.number(indent, feature)

    def choice(self, indent: str, feature: FeatureSpec, value: Name, name: str) -> None:
        """One of several names is 1; a missing value is none of them, or has a name of its own."""
        self.enter(feature)
        if not value.nullable:
            self.one(indent, feature, name)
            return
        self.write(indent, "if v is not None:")
        self.one(indent + "    ", feature, name)
        if feature.missing:
            self.write(indent, "else:")
            self.one(indent + "    ", feature, repr(f"{feature.name} = missing"))

    def one(self, indent: str, feature: FeatureSpec, name: str) -> None:
        place = self.places.get(feature.name)
        self.write(indent, f"x[{name}] = 1.0" if place is None else f"{place} = {name}; x[{place}] = 1.0")

    def cross(self, cross: FeatureSpec, features: list[FeatureSpec]) -> None:
        """One name for each combination of its features' names."""
        combinations = list(product(*(category_names(feature) for feature in features)))
        if len(combinations) > MOST_CROSSED:
            raise ModelError(
                f"feature {cross.name!r}: {len(combinations):,} combinations, {MOST_CROSSED:,} is the most: "
                "give its features fewer bins or values"
            )
        table = self.constant({combination: " & ".join(combination) for combination in combinations})
        sources = [source for feature in features for source in feature.expressions()]
        self.reads = tuple(dict.fromkeys(name for source in sources for name in parse(source).names))
        places = [self.places[feature.name] for feature in features]
        for combination in combinations:
            self.known(" & ".join(combination))
        there = " and ".join(f"{place} is not None" for place in places)
        self.write(" " * 8, f"if {there}:", f"    x[{table}[{', '.join(places)}]] = 1.0")

    def hinges(self, indent: str, feature: FeatureSpec) -> None:
        """What the number has beyond each knot; below the first it is nothing."""
        self.write(indent, "if v is not None and v - v == 0:")
        for knot in feature.knots:
            indent += "    "
            name = self.known(f"{feature.name} over {_plain(knot)}")
            self.write(indent, f"if v > {knot!r}:", f"    x[{name}] = _number(v - {knot!r})")

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

    def enter(self, feature: FeatureSpec) -> None:
        """Every name of a feature of which one at most is 1."""
        for name in category_names(feature):
            self.known(name)

    def known(self, name: str) -> str:
        """`name` entered into the vocabulary, as a literal."""
        if name in self.vocabulary:
            raise ModelError(f"two features are both encoded as {name!r}: rename one")
        self.vocabulary[name] = self.reads
        return repr(name)

    def constant(self, value: object) -> str:
        """The name that the generated code has for `value`."""
        name = f"_c{len(self.scope)}"
        self.scope[name] = value
        return name

    def write(self, indent: str, *lines: str) -> None:
        self.lines[-1:] = [*(indent + line for line in lines), self.tail]


def bin_names(name: str, edges: Sequence[float]) -> list[str]:
    """What the bins are called: below the first edge, from each edge (included) to the next (not), from the last."""
    inner = [f"{name} in {_plain(low)}..{_plain(high)}" for low, high in pairwise(edges)]
    return [f"{name} < {_plain(edges[0])}", *inner, f"{name} >= {_plain(edges[-1])}"]


def bucket_names(name: str, buckets: int) -> list[str]:
    """What the buckets of a hashed text are called."""
    return [f"{name} # {number}" for number in range(buckets)]


def category_names(feature: FeatureSpec) -> list[str]:
    """The encoded names of which a feature has one at most; of a number none."""
    match feature.transform:
        case "flag":
            return [feature.name]
        case "bins":
            names = bin_names(feature.name, feature.bins)
        case "onehot":
            names = [f"{feature.name} = {text}" for text in (*feature.values, "other")]
        case "hashed":
            names = bucket_names(feature.name, feature.buckets)
        case _:
            return []
    return [*names, f"{feature.name} = missing"] if feature.missing else names


def bucket(text: str, buckets: int) -> int:
    """The bucket of a text: the same in every process and every run (CRC-32 of its UTF-8)."""
    return crc32(text.encode()) % buckets


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def _bound(number: float) -> str:
    return repr(number) if number - number == 0 else ("1e999" if number > 0 else "-1e999")
