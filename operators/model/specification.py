"""`model.toml`: what the online model sees, in the rules' expression language, and how it learns."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from operators.expressions import ExpressionError, parse

Transform = Literal["number", "log", "sqrt", "clip", "standardise", "bins", "onehot", "flag"]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class ModelError(ValueError):
    """A model specification that is refused; the message names the feature and what would be right."""


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[feature]]`: a value (an expression) and how it becomes numbers.

    `when` (a condition) says for which transactions it is computed at all. A missing value leaves the feature out;
    `missing = true` gives it a bin of its own instead (`bins` and `onehot`).
    """

    name: str
    value: str
    transform: Transform = "number"
    when: str | None = None
    bins: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    low: float = -inf
    high: float = inf
    missing: bool = False

    def expressions(self) -> tuple[str, ...]:
        """Every expression in it, the value's first."""
        return (self.value,) if self.when is None else (self.value, self.when)


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[learning]`: River's optimiser and what it is given. `fraud_weight` multiplies the weight of each fraud.

    Of the latest `balance_window` examples learned, at most the share `most_frauds` are frauds; up to `waiting_frauds`
    more wait (see `Balance`).
    """

    optimiser: Literal["adagrad", "ftrl", "sgd"] = "adagrad"
    rate: Positive = 0.3
    intercept_rate: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    l2: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    fraud_weight: Positive = 1.0
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
    `window` examples counts as drift against the reference.
    """

    window: Count = 10_000
    adwin_delta: Share = 1e-6
    page_hinkley_threshold: Positive = 100.0
    page_hinkley_delta: Positive = 0.02
    psi: Positive = 0.25
    ks: Share = 0.2


class Specification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. `prior` is the expected share of fraud: a model that has learned nothing yet says that."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    features: tuple[FeatureSpec, ...] = msgspec.field(name="feature")
    prior: Share = 0.005
    learning: Learning = Learning()
    publish: Publishing = Publishing()
    monitor: Monitoring = Monitoring()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that its expressions use, in order of appearance: what a plan of the windows must offer."""
        sources = (source for feature in self.features for source in feature.expressions())
        return tuple(dict.fromkeys(name for source in sources for name in parse(source).names))

    @property
    def standardised(self) -> frozenset[str]:
        """The features that the pipeline's scaler scales."""
        return frozenset(feature.name for feature in self.features if feature.transform == "standardise")


def load_model(path: str | Path) -> Specification:
    """The specification in a TOML file. Raises ModelError with the file's name."""
    try:
        return parse_model(Path(path).read_bytes())
    except (ModelError, OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def parse_model(source: bytes | str) -> Specification:
    """The specification in TOML. Raises ModelError.

    Names are resolved later, against the plan of the windows (`Encoder`); everything else is checked here.
    """
    try:
        specification = msgspec.toml.decode(source, type=Specification)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
        raise ModelError(str(error)) from error
    if not specification.features:
        raise ModelError("no [[feature]]: a model needs at least one")
    seen: set[str] = set()
    for feature in specification.features:
        if feature.name in seen:
            raise ModelError(f"feature {feature.name!r} is there twice: each needs a name of its own")
        seen.add(feature.name)
        _check(feature)
    return specification


def _check(feature: FeatureSpec) -> None:
    where = f"feature {feature.name!r}"
    if not feature.name.strip() or len(feature.name) > 80:
        raise ModelError(f"{where}: a name has 1 to 80 characters")
    if feature.name == "score":
        raise ModelError(f"{where}: the model's score is called that")
    for source in feature.expressions():
        try:
            parse(source)
        except ExpressionError as error:
            raise ModelError(f"{where}: {error}\n{error.caret()}") from error
    binned, one_hot, clipped = (feature.transform == kind for kind in ("bins", "onehot", "clip"))
    if bool(feature.bins) != binned:
        raise ModelError(f'{where}: `bins` (the inner edges) go with transform = "bins", and only there')
    if not (_ascending(feature.bins) and all(map(isfinite, feature.bins))):
        raise ModelError(f"{where}: the edges in `bins` must be finite numbers in ascending order")
    if bool(feature.values) != one_hot:
        raise ModelError(f'{where}: `values` (the texts told apart) go with transform = "onehot", and only there')
    if len(set(feature.values)) != len(feature.values) or {"other", "missing"} & set(feature.values):
        raise ModelError(f"{where}: `values` must differ, and `other` and `missing` are names of their own")
    if feature.missing and not (binned or one_hot):
        raise ModelError(f"{where}: `missing` goes with bins and onehot; elsewhere a missing value is left out")
    if clipped != (isfinite(feature.low) or isfinite(feature.high)) or not feature.low < feature.high:
        raise ModelError(f'{where}: `low` < `high`, one of them or both, go with transform = "clip", and only there')


def _ascending(edges: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(edges))
