"""Every transform of `model.toml` together: scores are River's own, reasons add up, whatever the model is made of."""

from collections.abc import Callable
from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.features.plan import Plan
from operators.model.encoding import Encoder, bucket
from operators.model.pipeline import OnlinePipeline
from operators.model.scoring import Scorer, TrainedOn, Weights
from operators.model.specification import FeatureSpec, ModelError, Specification, parse_model
from operators.transactions.records import Transaction

NUMBERS = ("amount", "old_balance", "amount / old_balance", "log(amount)", "amount - old_balance")
TEXTS = ("type", "category", "country")

edges = st.lists(st.integers(-500, 1_000), min_size=1, max_size=4, unique=True).map(
    lambda found: tuple(map(float, sorted(found)))
)
words = st.lists(st.sampled_from("ABCD"), min_size=1, max_size=3, unique=True).map(tuple)
conditions = st.sampled_from([None, None, "amount > 50", 'type == "A"', "missing(old_balance)"])


def spec_of(transform: str, **options: Any) -> st.SearchStrategy[Callable[[str], FeatureSpec]]:
    drawn = {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in options.items()}
    return st.fixed_dictionaries({"when": conditions, **drawn}).map(
        lambda fields: lambda name: FeatureSpec(name, transform=transform, **fields)  # type: ignore[arg-type]
    )


numbers, texts = st.sampled_from(NUMBERS), st.sampled_from(TEXTS)
features = st.one_of(
    *(spec_of(transform, value=numbers) for transform in ("number", "log", "sqrt", "standardise")),
    spec_of("clip", value=numbers, low=-10.0, high=st.sampled_from([10.0, 400.0])),
    spec_of("hinge", value=numbers, knots=edges),
    spec_of("bins", value=numbers, bins=edges, missing=st.booleans()),
    spec_of("onehot", value=texts, values=words, missing=st.booleans()),
    spec_of("hashed", value=texts, buckets=st.integers(2, 5), missing=st.booleans()),
    spec_of("flag", value=st.sampled_from(["amount > 100", 'type == "B"', "amount > old_balance"])),
)
CATEGORIES = ("bins", "onehot", "hashed", "flag")


@st.composite
def specifications(draw: st.DrawFn) -> Specification:
    """Up to eight features of any kind, and crosses of those that can be crossed."""
    own = [make(f"f{number}") for number, make in enumerate(draw(st.lists(features, min_size=1, max_size=8)))]
    crossable = [feature.name for feature in own if feature.transform in CATEGORIES]
    if len(crossable) >= 2:
        members = st.lists(st.sampled_from(crossable), min_size=2, max_size=3, unique=True).map(tuple)
        for number, names in enumerate(draw(st.lists(members, max_size=2, unique=True))):
            own.insert(draw(st.integers(0, len(own))), FeatureSpec(f"x{number}", transform="cross", features=names))
    learning = draw(
        st.sampled_from(
            [
                'optimiser = "adagrad"\nrate = 0.4',
                'optimiser = "adagrad"\nrate = 0.4\nschedule = "inverse_scaling"\npower = 0.1',
                'optimiser = "sgd"\nrate = 0.05\nl2 = 0.001',
                'optimiser = "sgd"\nschedule = "optimal"\nalpha = 0.01',
                'optimiser = "sgd"\nrate = 0.5\nschedule = "inverse_scaling"',
                'optimiser = "ftrl"\nrate = 0.3',
            ]
        )
    )
    head = parse_model(f'name = "m"\nprior = 0.05\n[learning]\n{learning}\n[[feature]]\nname = "a"\nvalue = "amount"')
    return Specification(head.name, tuple(own), prior=head.prior, learning=head.learning)


transactions = st.builds(
    lambda amount, balance, kind, category: Transaction(
        "card", "t", 0, "u", amount, type=kind, category=category, old_balance=balance
    ),
    st.floats(0, 1_000, width=32),
    st.none() | st.floats(0, 1_000, width=32),
    st.sampled_from([None, *"ABC"]),
    st.sampled_from([None, "A", "bread", "Ünïcode", ""]),
)
histories = st.lists(st.tuples(transactions, st.booleans(), st.sampled_from([1.0, 1.0, 3.0])), max_size=20)


@settings(deadline=None, max_examples=60)
@given(specifications(), histories, st.lists(transactions, min_size=1, max_size=5))
def test_scores_are_rivers_and_reasons_add_up(
    spec: Specification, history: list[tuple[Transaction, bool, float]], batch: list[Transaction]
) -> None:
    pipeline, encoder = OnlinePipeline(spec), Encoder(spec, Plan.of(spec.names, allowed_lateness=0))
    for transaction, is_fraud, weight in history:
        pipeline.learn(encoder.encode([transaction], [()])[0], is_fraud, weight)
    bias, weights = pipeline.fold()
    scorer = Scorer(Weights("m", 1, TrainedOn(len(history), 0), bias, weights, 0))
    inputs = encoder.encode(batch, [()] * len(batch))
    vocabulary = set(encoder.vocabulary)
    for x, score in zip(inputs, scorer.scores(inputs), strict=True):
        assert set(x) <= vocabulary
        assert score == pytest.approx(pipeline.predict(x), abs=1e-9)
        assert score is not None
        added = bias + sum(reason.contribution for reason in scorer.reasons(x))
        if 1e-12 < score < 1 - 1e-6:
            assert added == pytest.approx(log(score / (1 - score)), rel=1e-9, abs=1e-8)


@settings(deadline=None, max_examples=60)
@given(specifications(), histories, st.integers(0, 20))
def test_a_restored_pipeline_learns_on_to_the_bit(
    spec: Specification, history: list[tuple[Transaction, bool, float]], cut: int
) -> None:
    encoder = Encoder(spec, Plan.of(spec.names, allowed_lateness=0))
    whole, part = OnlinePipeline(spec), OnlinePipeline(spec)
    for number, (transaction, is_fraud, weight) in enumerate(history):
        if number == cut:
            part = OnlinePipeline(spec, part.state())
        (x,) = encoder.encode([transaction], [()])
        whole.learn(x, is_fraud, weight)
        part.learn(x, is_fraud, weight)
    assert part.state() == whole.state()
    assert part.fold() == whole.fold()


def encoded(features: str, **fields: Any) -> dict[str, float]:
    spec = parse_model(f'name = "m"\n{features}')
    amount = fields.pop("amount", 100.0)
    transaction = Transaction("card", "t", 0, "u", amount, **fields)
    return Encoder(spec, Plan.of(spec.names, allowed_lateness=0)).encode([transaction], [()])[0]


HINGE = '[[feature]]\nname = "a"\nvalue = "amount - 100"\ntransform = "hinge"\nknots = [-50, 0, 10.5]\n'
HASHED = '[[feature]]\nname = "k"\nvalue = "category"\ntransform = "hashed"\nbuckets = 8\n'
BINS = '[[feature]]\nname = "a"\nvalue = "amount"\ntransform = "bins"\nbins = [10]\n'
FLAG = '[[feature]]\nname = "b"\nvalue = "old_balance > 1"\ntransform = "flag"\n'
CROSS = '[[feature]]\nname = "c"\ntransform = "cross"\nfeatures = ["a", "k"]\n'


@pytest.mark.parametrize(
    ("amount", "x"),
    [
        (40.0, {}),
        (50.0, {}),
        (75.0, {"a over -50": 25.0}),
        (100.0, {"a over -50": 50.0}),
        (111.0, {"a over -50": 61.0, "a over 0": 11.0, "a over 10.5": 0.5}),
    ],
)
def test_hinges_are_what_lies_beyond_each_knot(amount: float, x: dict[str, float]) -> None:
    assert encoded(HINGE, amount=amount) == pytest.approx(x)


def test_a_hashed_text_has_the_same_bucket_everywhere() -> None:
    assert encoded(HASHED, category="bread") == {f"k # {bucket('bread', 8)}": 1.0}
    assert [bucket(text, 256) for text in ("bread", "Ünïcode", "")] == [75, 252, 0]
    assert encoded(HASHED) == {}
    assert encoded(HASHED + "missing = true\n") == {"k = missing": 1.0}


def test_a_cross_is_there_where_all_its_features_are() -> None:
    name = f"k # {bucket('bread', 8)}"
    for order in (CROSS + BINS + HASHED, BINS + HASHED + CROSS):
        found = encoded(order, category="bread", amount=12.0)
        assert found == {"a >= 10": 1.0, name: 1.0, f"a >= 10 & {name}": 1.0}
    assert encoded(BINS + HASHED + CROSS, amount=12.0) == {"a >= 10": 1.0}
    assert encoded(BINS + FLAG + CROSS.replace('"k"', '"b"'), old_balance=2.0) == {
        "a >= 10": 1.0, "b": 1.0, "a >= 10 & b": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (HINGE.replace("knots = [-50, 0, 10.5]", ""), "`knots` (from where on the excess counts) go with"),
        (HINGE.replace("[-50, 0, 10.5]", "[3, 2]"), "in `knots` must be finite numbers in ascending order"),
        (HINGE + "buckets = 3\n", '`buckets` (how many names the texts share) go with transform = "hashed"'),
        (HASHED.replace("8", "1"), "`buckets` are 2 to 65,536, not 1"),
        (BINS.replace("bins = [10]", "quantiles = 1"), "`quantiles` are 2 to 100, not 1"),
        (BINS.replace("bins = [10]", "quantiles = 4"), "`python -m fraudflow train FILE --fit` finds them"),
        (BINS.replace('value = "amount"', ""), "takes a `value`"),
        (BINS + HASHED + CROSS + 'value = "amount"\n', "and that one none"),
        (BINS + HASHED + CROSS + 'when = "amount > 1"\n', "a cross has no `when`"),
        (BINS + HASHED + CROSS.replace('"k"', '"kk"'), "there is no feature 'kk': did you mean 'k'?"),
        (BINS + CROSS.replace('"k"', '"a"'), "names two or three others"),
        (HINGE + HASHED + CROSS, "'a' has transform 'hinge', a cross takes bins"),
        ('[learning]\noptimiser = "ftrl"\nschedule = "optimal"\n' + BINS, "does not go with FTRL"),
        ("[learning]\nlegitimate_share = 0\n" + BINS, "legitimate_share"),
    ],
)
def test_what_is_wrong_is_told(features: str, words: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_model(f'name = "m"\n{features}')
    assert words in str(refused.value)


def test_a_cross_of_too_many_combinations_is_refused() -> None:
    with pytest.raises(ModelError, match="80,000 combinations, 10,000 is the most"):
        encoded(BINS + HASHED.replace("8", "40_000") + CROSS)
