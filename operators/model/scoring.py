"""Scores and exact reasons from one bias and one weight per encoded feature."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import exp, isfinite
from typing import Annotated, NamedTuple

import msgspec

from operators.model.encoding import Input
from operators.times import iso


class Reason(NamedTuple):
    """What one encoded feature added to the logit of the score."""

    feature: str
    value: float
    contribution: float


class TrainedOn(msgspec.Struct, frozen=True):
    """How many matured examples the weights were learned from, and how many of them were frauds."""

    examples: int
    frauds: int


class WeightsError(ValueError):
    """A record on the models' topic that can't be used."""


class Weights(msgspec.Struct, frozen=True):
    """A published model: the logit of a score is `bias` plus the sum of `weights[feature] * value`.

    `published_at` is in milliseconds; in JSON, the record of the `fraud-models` topic, it is ISO 8601 with `Z`.
    `metrics` is the prequential quality when it was published, without what was not defined then.
    """

    name: str
    version: int
    trained_on: TrainedOn
    bias: float
    weights: Mapping[str, float]
    published_at: int
    metrics: Mapping[str, float] = {}

    def is_finite(self) -> bool:
        """Whether it may be published: no weight is infinite or not a number."""
        return isfinite(self.bias) and all(map(isfinite, self.weights.values()))

    def to_json(self) -> bytes:
        """The record; the same weights give the same bytes."""
        return msgspec.json.encode({**msgspec.structs.asdict(self), "published_at": iso(self.published_at)})

    @classmethod
    def from_json(cls, record: bytes) -> "Weights":
        """The weights in a record. Raises WeightsError: not JSON, a field missing or of another type, not finite."""
        try:
            read = _DECODER.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WeightsError(f"not a model record: {error}") from error
        if read.published_at.year < 1970:
            raise WeightsError(f"model {read.name!r}: published in the year {read.published_at.year}")
        published_at = round(read.published_at.timestamp() * 1000)
        weights = cls(read.name, read.version, read.trained_on, read.bias, read.weights, published_at, read.metrics)
        if not weights.is_finite():
            raise WeightsError(f"model {read.name!r} version {read.version}: a weight is not finite")
        if max(map(abs, (weights.bias, *weights.weights.values()))) > LARGEST_WEIGHT:
            raise WeightsError(f"model {read.name!r} version {read.version}: a weight is beyond {LARGEST_WEIGHT:g}")
        return weights


LONGEST_NAME = 64
LARGEST_WEIGHT = 1e100
"""Beyond it a sum of weighted inputs can be infinite on both sides, which gives no score."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Record(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
    version: Count
    trained_on: TrainedOn
    bias: float
    weights: dict[str, float]
    published_at: Annotated[datetime, msgspec.Meta(tz=True)]
    metrics: dict[str, float] = {}


_DECODER = msgspec.json.Decoder(_Record)


def sigmoid(logit: float) -> float:
    """The probability of a logit, without overflow at either end."""
    if logit >= 0:
        return 1.0 / (1.0 + exp(-logit))
    power = exp(logit)
    return power / (1.0 + power)


class Scorer:
    """Scores inputs with one version of the weights; without weights every score is None (rules only).

    An encoded feature that the weights do not know adds nothing. The bias and the contributions of `reasons` add up to
    the logit of the score.
    """

    def __init__(self, weights: Weights | None) -> None:
        self.weights = weights
        self._weight_of = {} if weights is None else dict(weights.weights)

    def scores(self, inputs: Sequence[Input]) -> list[float | None]:
        """One score in [0, 1] per input, in order."""
        if self.weights is None:
            return [None] * len(inputs)
        bias, weight = self.weights.bias, self._weight_of
        scores: list[float | None] = []
        for x in inputs:
            logit = bias
            for name, value in x.items():
                if name in weight:
                    logit += weight[name] * value
            if logit >= 0:
                scores.append(1.0 / (1.0 + exp(-logit)))
            else:
                power = exp(logit)  # an underflow is 0.0, which is right
                scores.append(power / (1.0 + power))
        return scores

    def reasons(self, x: Input) -> list[Reason]:
        """Every contribution that is not 0, the strongest first; ties by name."""
        weight = self._weight_of
        strongest = sorted(
            (-abs(contribution), name, value, contribution)
            for name, value in x.items()
            if name in weight and (contribution := weight[name] * value) != 0.0
        )
        return [Reason(name, value, contribution) for _, name, value, contribution in strongest]
