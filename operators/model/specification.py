"""`model.toml`: what the online model sees, in the rules' expression language, and how it learns."""

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from math import inf, isfinite
from typing import Annotated, Any, Literal

import msgspec

from operators.expressions import ExpressionError, parse
from operators.features.fields import FieldError, FieldSpec, check_field
from operators.wording import Path, refusal

Transform = Literal[
    "number", "log", "sqrt", "clip", "hinge", "standardise", "bins", "onehot", "hashed", "flag", "cross"
]  # fmt: skip
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=100)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
ModelName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="a letter or digit, then up to 63 letters, digits, . _ or -",
    ),
]


class ModelError(ValueError):
    """A model specification that is refused; the message names the feature and what would be right. `path` says where
    in the document the fault is, if it is not in a feature that the message names."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[feature]]`: a value (an expression) and how it becomes numbers. `cross` has no value: it stands on other
    features.

    `when` (a condition) says for which transactions it is computed at all. A missing value leaves the feature out;
    `missing = true` gives it a name of its own instead (`bins`, `onehot` and `hashed`). `quantiles` says how many bins
    of equal size are wanted; `bins` then are what `fraudflow train --fit` found in a history.
    """

    name: str
    value: str = ""
    transform: Transform = "number"
    when: str | None = None
    bins: tuple[float, ...] = ()
    quantiles: int = 0
    values: tuple[str, ...] = ()
    buckets: int = 0
    knots: tuple[float, ...] = ()
    features: tuple[str, ...] = ()
    low: float = -inf
    high: float = inf
    missing: bool = False

    def expressions(self) -> tuple[str, ...]:
        """Every expression in it, the value's first."""
        return tuple(source for source in (self.value, self.when) if source)


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[learning]`: River's optimiser and what it is given. `fraud_weight` multiplies the weight of each fraud.

    The rate at step t is `rate`; with `schedule = "inverse_scaling"` rate / (t + 1) ** `power`; with "optimal" it is
    Bottou's, which `alpha` alone determines: River's schedulers. FTRL has rates of its own that fall: no schedule goes
    with it. Of legitimate examples only the share `legitimate_share` is learned, each with weight 1 /
    `legitimate_share`; which ones depends on their transactions' ids alone.

    Of the latest `balance_window` examples learned, at most the share `most_frauds` are frauds; up to `waiting_frauds`
    more wait (see `Balance`).
    """

    optimiser: Literal["adagrad", "ftrl", "sgd"] = "adagrad"
    rate: Rate = 0.3
    intercept_rate: NotNegative = 0.01
    schedule: Literal["constant", "inverse_scaling", "optimal"] = "constant"
    power: Positive = 0.5
    alpha: Positive = 1e-4
    l2: NotNegative = 0.0
    fraud_weight: Positive = 1.0
    legitimate_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    most_frauds: Share = 0.1
    balance_window: Count = 2_000
    waiting_frauds: Count = 2_000


class Publishing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[publish]`: new weights after so many examples, or after so many seconds where there was any example.

    A young model changes faster: the first are published after `first` examples, the next whenever there are a quarter
    more, until that is `examples`.
    """

    first: Count = 100
    examples: Count = 1_000
    seconds: Positive = 10.0


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[monitor]`: how many of the latest matured examples quality is measured on, and the drift detectors' settings.

    The defaults raised no false alarm (ADWIN) and two (Page-Hinkley) on a million stationary examples, where River's
    own defaults raise 14 and more. `psi` and `ks`: from which distance on a feature's distribution over the latest
    `window` examples counts as drift against the reference. `capacity`: how many users analysts look at in a day.
    """

    window: Count = 10_000
    adwin_delta: Share = 1e-6
    page_hinkley_threshold: Positive = 150.0
    page_hinkley_delta: Positive = 0.02
    cusum_false_alarms: Positive = 0.25
    psi: Positive = 0.25
    ks: Share = 0.2
    capacity: Count = 100


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[promotion]`: when a challenger is better than the champion, and whether it then takes its place by itself.

    Better: the mean difference of their log-losses is above 0 with this `confidence`, which holds however often one
    looks; there must be so many `frauds` among the examples. The bound is narrowest after `examples`; after `window`
    the comparison begins anew.
    """

    automatic: bool = False
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.999
    examples: Count = 10_000
    window: Count = 100_000
    frauds: Count = 50


class Safety(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[safety]`: what happens by itself when the champion is worse than nothing: when its log-loss on matured examples
    is above `most` times that of always saying the share of frauds.

    That is tested over each `window` of examples with a chance of false alarm of `miss` in each, on examples decided on
    after the model had learned from `after`.
    """

    action: Literal["rollback", "freeze", "rules_only", "tell"] = "rollback"
    most: Positive = 1.2
    window: Annotated[int, msgspec.Meta(ge=500)] = 5_000
    miss: Annotated[float, msgspec.Meta(gt=0, lt=0.1)] = 1e-4
    after: Count = 2_000


class Challenger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[challenger]]`: a model that scores and learns in the shadow of the first one. What it does not say is as
    there; `without` names features that it does not see, `[[challenger.feature]]` adds some of its own, and `learning`
    changes single settings."""

    name: ModelName
    without: tuple[str, ...] = ()
    features: tuple[FeatureSpec, ...] = msgspec.field(name="feature", default=())
    prior: Share | None = None
    learning: dict[str, Any] = {}


class Specification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. `prior` is the expected share of fraud: a model that has learned nothing yet says that. `fields` are
    the derived fields that stand with it; what is in them is seen where they meet the rules'."""

    name: ModelName
    features: tuple[FeatureSpec, ...] = msgspec.field(name="feature")
    fields: tuple[FieldSpec, ...] = msgspec.field(name="field", default=())
    prior: Share = 0.005
    learning: Learning = Learning()
    publish: Publishing = Publishing()
    monitor: Monitoring = Monitoring()
    promotion: Promotion = Promotion()
    safety: Safety = Safety()
    challengers: tuple[Challenger, ...] = msgspec.field(name="challenger", default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that its expressions use, in order of appearance: what a plan of the windows must offer."""
        sources = (source for feature in self.features for source in feature.expressions())
        return tuple(dict.fromkeys(name for source in sources for name in parse(source).names))

    @property
    def standardised(self) -> frozenset[str]:
        """The features that the pipeline's scaler scales."""
        return frozenset(feature.name for feature in self.features if feature.transform == "standardise")


def parse_model(source: bytes | str, *, fitted: bool = True) -> Specification:
    """The specification in TOML. Raises ModelError, also where `fitted` and quantiles have no bins yet.

    Names are resolved later, against the plan of the windows (`Encoder`); everything else is checked here.
    """
    try:
        document = tomllib.loads(source.decode() if isinstance(source, bytes) else source)
    except (ValueError, RecursionError) as error:  # what is not TOML, a number of thousands of digits, endless nesting
        raise ModelError(f"not TOML: {error}") from error
    try:
        specification = msgspec.convert(document, Specification)
    except msgspec.ValidationError as error:
        wrong = refusal(document, Specification)
        raise ModelError(str(wrong or error), wrong.path if wrong else ()) from error
    from operators.model.challengers import check_challengers

    _check_specification(specification, fitted)
    for name, challenger in check_challengers(specification).items():
        try:
            _check_specification(challenger, fitted)
        except ModelError as error:
            raise ModelError(f"challenger {name!r}: {error}") from error
    return specification


def _check_specification(specification: Specification, fitted: bool) -> None:
    if not specification.features:
        raise ModelError("no [[feature]]: a model needs at least one")
    names: list[str] = []
    for number, field in enumerate(specification.fields):
        try:
            check_field(field)
        except FieldError as error:
            raise ModelError(str(error).partition("\n")[0], ("field", number, error.part)) from error
        if field.name in names:
            raise ModelError(f"more than one field has the name {field.name!r}", ("field", number, "name"))
        names.append(field.name)
    known: dict[str, FeatureSpec] = {}
    for feature in specification.features:
        if feature.name in known:
            raise ModelError(f"feature {feature.name!r} is there twice: each needs a name of its own")
        known[feature.name] = feature
        _check(feature)
        if fitted and feature.quantiles and not feature.bins:
            raise ModelError(
                f"feature {feature.name!r}: its quantiles have no `bins` yet: "
                "`python -m fraudflow train FILE --fit` finds them in a history and writes them here"
            )
    for feature in specification.features:
        _check_cross(feature, known)
    _check_learning(specification.learning)


OPTIONS: Mapping[str, str] = {
    "bins": "bins", "quantiles": "bins", "values": "onehot", "buckets": "hashed", "knots": "hinge", "features": "cross",
}  # fmt: skip
"""Which transform an option goes with."""
MEANING: Mapping[str, str] = {
    "bins": "the inner edges",
    "quantiles": "how many bins of equal size",
    "values": "the texts told apart",
    "buckets": "how many names the texts share",
    "knots": "from where on the excess counts",
    "features": "those whose combinations are told apart",
}
CATEGORIES = ("bins", "onehot", "hashed", "flag")
"""Transforms of which one encoded name at most is 1."""
MOST_BUCKETS = 65_536


def _check(feature: FeatureSpec) -> None:
    where = f"feature {feature.name!r}"
    if not feature.name.strip() or len(feature.name) > 80:
        raise ModelError(f"{where}: a name has 1 to 80 characters")
    if feature.name == "score":
        raise ModelError(f"{where}: the model's score is called that")
    if bool(feature.value) == (feature.transform == "cross"):
        raise ModelError(f'{where}: every transform but "cross" takes a `value` (an expression), and that one none')
    for source in feature.expressions():
        try:
            parse(source)
        except ExpressionError as error:
            raise ModelError(f"{where}: {error}\n{error.caret()}") from error
    _check_options(feature, where)
    if feature.missing and feature.transform not in ("bins", "onehot", "hashed"):
        raise ModelError(f"{where}: `missing` goes with bins, onehot and hashed; elsewhere a missing value is left out")
    clipped = isfinite(feature.low) or isfinite(feature.high)
    if clipped != (feature.transform == "clip") or not feature.low < feature.high:
        raise ModelError(f'{where}: `low` < `high`, one of them or both, go with transform = "clip", and only there')


def _check_options(feature: FeatureSpec, where: str) -> None:
    options = [option for option, transform in OPTIONS.items() if transform == feature.transform]
    given = [option for option in OPTIONS if getattr(feature, option)]
    wrong = [option for option in given if option not in options] or (options[:1] if not given else [])
    if wrong:
        option, transform = wrong[0], OPTIONS[wrong[0]]
        raise ModelError(f'{where}: `{option}` ({MEANING[option]}) go with transform = "{transform}", and only there')
    for option in ("bins", "knots"):
        numbers: tuple[float, ...] = getattr(feature, option)
        if not (_ascending(numbers) and all(map(isfinite, numbers))):
            what = "edges" if option == "bins" else "numbers"
            raise ModelError(f"{where}: the {what} in `{option}` must be finite numbers in ascending order")
    if feature.quantiles and not 2 <= feature.quantiles <= 100:
        raise ModelError(f"{where}: `quantiles` are 2 to 100, not {feature.quantiles}")
    if feature.buckets and not 2 <= feature.buckets <= MOST_BUCKETS:
        raise ModelError(f"{where}: `buckets` are 2 to {MOST_BUCKETS:,}, not {feature.buckets}")
    if len(set(feature.values)) != len(feature.values) or {"other", "missing"} & set(feature.values):
        raise ModelError(f"{where}: `values` must differ, and `other` and `missing` are names of their own")


def _check_cross(feature: FeatureSpec, known: Mapping[str, FeatureSpec]) -> None:
    if feature.transform != "cross":
        return
    where = f"feature {feature.name!r}"
    if feature.when is not None:
        raise ModelError(f"{where}: a cross has no `when`: it is there where all its features are")
    if not 2 <= len(set(feature.features)) == len(feature.features) <= 3:
        raise ModelError(f"{where}: `features` names two or three others")
    for name in feature.features:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f": did you mean {nearest[0]!r}?" if nearest else ""
            raise ModelError(f"{where}: there is no feature {name!r}{hint}")
        if known[name].transform not in CATEGORIES:
            raise ModelError(
                f"{where}: {name!r} has transform {known[name].transform!r}, a cross takes {', '.join(CATEGORIES)}; "
                "for numbers write an expression, such as amount / mean_amount_30d_before"
            )


def _check_learning(learning: Learning) -> None:
    if learning.optimiser == "ftrl" and learning.schedule != "constant":
        raise ModelError(f'[learning]: schedule = "{learning.schedule}" does not go with FTRL, whose own rates fall')


def _ascending(edges: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(edges))
