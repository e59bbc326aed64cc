"""What the model sees of a transaction: readable names, stated meaning of zeros and missing values."""

import math
from typing import Any

import pytest

from operators.features.plan import Plan
from operators.model.encoding import Encoder, bin_names
from operators.model.files import load_model
from operators.model.specification import ModelError, Specification, parse_model
from operators.transactions.records import Transaction


def transaction(amount: float = 100.0, **fields: object) -> Transaction:
    return Transaction("card", "t1", 1_733_324_400_000, "u1", amount, **fields)  # type: ignore[arg-type]


def specification(*features: str) -> Specification:
    return parse_model('name = "m"\n' + "".join(f"[[feature]]\n{feature}\n" for feature in features))


def encoded(feature: str, row: tuple[object, ...] = (), **fields: Any) -> dict[str, float]:
    spec = specification(f'name = "a"\n{feature}')
    plan = Plan.of(spec.names, allowed_lateness=0)
    (x,) = Encoder(spec, plan).encode([transaction(**fields)], [row])  # type: ignore[list-item]
    assert set(x) <= set(Encoder(spec, plan).vocabulary)
    return x


BINS = 'value = "old_balance"\ntransform = "bins"\nbins = [0, 0.5, 1_000]\n'


@pytest.mark.parametrize(
    ("feature", "fields", "x"),
    [
        ('value = "amount"', {"amount": 12.5}, {"a": 12.5}),
        ('value = "amount"', {"amount": 0.0}, {}),
        ('value = "amount / old_balance"', {}, {}),
        ('value = "amount / old_balance"', {"old_balance": 0.0}, {}),
        ('value = "amount"\ntransform = "log"', {"amount": math.e - 1}, {"a": 1.0}),
        ('value = "0 - amount"\ntransform = "log"', {"amount": math.e - 1}, {"a": -1.0}),
        ('value = "amount"\ntransform = "sqrt"', {"amount": 9.0}, {"a": 3.0}),
        ('value = "0 - amount"\ntransform = "sqrt"', {"amount": 9.0}, {"a": -3.0}),
        ('value = "amount"\ntransform = "clip"\nhigh = 50', {"amount": 900.0}, {"a": 50.0}),
        ('value = "amount"\ntransform = "clip"\nlow = 5\nhigh = 50', {"amount": 0.0}, {"a": 5.0}),
        ('value = "amount"\ntransform = "standardise"', {"amount": 0.0}, {"a": 0.0, "a is known": 1.0}),
        ('value = "old_balance"\ntransform = "standardise"', {}, {}),
        (BINS, {"old_balance": -1.0}, {"a < 0": 1.0}),
        (BINS, {"old_balance": 0.0}, {"a in 0..0.5": 1.0}),
        (BINS, {"old_balance": 0.5}, {"a in 0.5..1000": 1.0}),
        (BINS, {"old_balance": 1000.0}, {"a >= 1000": 1.0}),
        (BINS, {}, {}),
        (BINS + "missing = true", {}, {"a = missing": 1.0}),
        ('value = "type"\ntransform = "onehot"\nvalues = ["X"]', {"type": "X"}, {"a = X": 1.0}),
        ('value = "type"\ntransform = "onehot"\nvalues = ["X"]', {"type": "Y"}, {"a = other": 1.0}),
        ('value = "type"\ntransform = "onehot"\nvalues = ["X"]', {}, {}),
        ('value = "type"\ntransform = "onehot"\nvalues = ["X"]\nmissing = true', {}, {"a = missing": 1.0}),
        ('value = "amount > 10"\ntransform = "flag"', {"amount": 11.0}, {"a": 1.0}),
        ('value = "amount > 10"\ntransform = "flag"', {"amount": 10.0}, {}),
        ('value = "amount"\nwhen = "old_balance > 1"', {"old_balance": 2.0}, {"a": 100.0}),
        ('value = "amount"\nwhen = "old_balance > 1"', {}, {}),
    ],
)
def test_each_transform(feature: str, fields: dict[str, Any], x: dict[str, float]) -> None:
    assert encoded(feature, **fields) == pytest.approx(x)


def test_window_features_are_read_from_the_row() -> None:
    assert encoded('value = "amount / mean_amount_30d_before"', row=(50.0,)) == {"a": 2.0}
    assert encoded('value = "amount / mean_amount_30d_before"', row=(None,)) == {}


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (['name = "a"\nvalue = "type"'], "takes a number, and 'type' is a text"),
        (['name = "a"\nvalue = "amount"\ntransform = "onehot"\nvalues = ["x"]'], "takes a text"),
        (['name = "a"\nvalue = "amount"\ntransform = "flag"'], "takes a boolean"),
        (['name = "a"\nvalue = "amount"\nwhen = "amount"'], "a condition is wanted"),
        (['name = "a"\nvalue = "amount_typo"'], "unknown name 'amount_typo'"),
        (
            [
                'name = "a"\nvalue = "type"\ntransform = "onehot"\nvalues = ["X"]',
                'name = "a = X"\nvalue = "amount"',
            ],
            "both encoded as 'a = X'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(features: list[str], words: str) -> None:
    with pytest.raises(ModelError) as refused:
        Encoder(specification(*features), Plan.of((), allowed_lateness=0))
    assert words in str(refused.value)


def test_a_batch_keeps_its_order_and_wants_a_row_for_each() -> None:
    encoder = Encoder(specification('name = "a"\nvalue = "amount"'), Plan.of((), allowed_lateness=0))
    batch = [transaction(amount) for amount in (3.0, 1.0, 2.0)]
    assert encoder.encode(batch, [()] * 3) == [{"a": 3.0}, {"a": 1.0}, {"a": 2.0}]
    assert encoder.encode([], []) == []
    with pytest.raises(ValueError, match="zip"):
        encoder.encode(batch, [()])


def test_names_of_bins() -> None:
    assert bin_names("amount", (0.01, 10.0, 1e6)) == [
        "amount < 0.01", "amount in 0.01..10", "amount in 10..1000000", "amount >= 1000000",
    ]  # fmt: skip


def test_the_shipped_model_serves_three_formats_in_one_batch() -> None:
    spec = load_model("model.toml")
    plan = Plan.of(spec.names, allowed_lateness=0)
    row = tuple(1 if column.startswith(("count", "distinct", "is_new")) else None for column in plan.columns)
    paysim = Transaction(
        "paysim", "p", 0, "C1", 181.0, type="TRANSFER", receiver_id="C2", old_balance=181.0, receiver_old_balance=0.0
    )
    card = transaction(category="grocery", merchant_id="m1", location="Paris", country="FR")
    simple = Transaction("simple", "s", 0, "u", 15_000.0)
    xs = Encoder(spec, plan).encode([paysim, card, simple], [row] * 3)
    assert xs[0] == dict.fromkeys(
        (
            "format = paysim",
            "type = TRANSFER",
            "paysim amount in 100..1000",
            "old balance in 0.01..1000",
            "receiver's old balance < 0.01",
            "amount / old balance in 0.9..1.1",
            "moves out nearly everything",
        ),
        1.0,
    )
    assert {"format = card", "amount in 100..150", "category = grocery", "count_1m < 2"} <= set(xs[1])
    assert {"format = simple", "amount in 10000..50000", "category = missing"} <= set(xs[2])
    assert not any("balance" in name or "type" in name for x in xs[1:] for name in x)
