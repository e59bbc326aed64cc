"""The River pipeline: built from the specification, folded for scoring, stored and restored to the bit."""

from collections.abc import Hashable, Mapping
from math import isfinite, log
from typing import Any

import msgspec
from river import compose, linear_model, optim, preprocessing, utils

from operators.model.encoding import IS_KNOWN, Input
from operators.model.specification import Learning, Specification
from operators.model.state import StateError


class NamedScaler(preprocessing.StandardScaler):
    """River's StandardScaler for the named features; every other one passes through as it is."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        super().learn_one(self._named(x))  # type: ignore[no-untyped-call]

    def transform_one(self, x: dict[Hashable, Any]) -> dict[Hashable, Any]:
        return {**x, **super().transform_one(self._named(x))}  # type: ignore[no-untyped-call]

    def _named(self, x: dict[Hashable, Any]) -> dict[Hashable, Any]:
        return {name: value for name, value in x.items() if name in self.names}


class AdaGradRegression(linear_model.LogisticRegression):
    """River's LogisticRegression with its AdaGrad and no L2, to the bit, in two thirds of the time. (River asks for the
    learning rate once a feature, and makes three mappings on the way from the error to the weights.)"""

    def learn_one(self, x: dict[Hashable, Any], y: Any, w: float = 1.0) -> None:
        weights, optimizer = self._weights, self.optimizer
        error = self.loss.gradient(y_true=y, y_pred=weights.dot(x) + self.intercept) * w
        error = max(-self.clip_gradient, min(self.clip_gradient, error))
        self.intercept -= self.intercept_lr.get(optimizer.n_iterations) * error
        rate, eps, squares = optimizer.learning_rate, optimizer.eps, optimizer.g2
        for name, value in x.items():
            gradient = error * value
            square = squares[name] = squares[name] + gradient**2
            weights[name] = weights.get(name, 0.0) - rate / (square + eps) ** 0.5 * gradient
        optimizer.n_iterations += 1


class PipelineState(msgspec.Struct, array_like=True):
    """What a pipeline has learned. The mappings keep River's order, on which the last bit of a sum depends."""

    optimiser: str
    intercept: float
    iterations: int
    weights: dict[str, float]
    squares: dict[str, float]  # AdaGrad's g2, FTRL's n
    sums: dict[str, float]  # FTRL's z
    counts: dict[str, int]
    means: dict[str, float]
    variances: dict[str, float]


class OnlinePipeline:
    """(StandardScaler of some features |) LogisticRegression, learning one example at a time.

    The optimiser, its rates and L2 come from `[learning]`; the intercept starts at the log-odds of the prior, so that a
    cold model does not call everything fraud. `river` is the pipeline itself.
    """

    def __init__(self, specification: Specification, state: PipelineState | None = None) -> None:
        learning = specification.learning
        self.optimiser = learning.optimiser
        in_one_step = learning.optimiser == "adagrad" and not learning.l2
        regression = AdaGradRegression if in_one_step else linear_model.LogisticRegression
        self.regression = regression(
            optimizer=_optimiser(learning),
            l2=learning.l2,
            intercept_init=log(specification.prior / (1.0 - specification.prior)),
            intercept_lr=learning.intercept_rate,
        )
        self.scaler = NamedScaler(specification.standardised) if specification.standardised else None
        self.river = compose.Pipeline(self.scaler, self.regression) if self.scaler else self.regression
        if state is not None:
            self._restore(state)

    def predict(self, x: Input) -> float:
        """River's own prediction; learns nothing."""
        return float(self.river.predict_proba_one(x)[True])

    def learn(self, x: Input, is_fraud: bool, weight: float) -> None:
        """One example, its gradient times `weight`."""
        self.river.learn_one(x, is_fraud, w=weight)

    def fold(self) -> tuple[float, dict[str, float]]:
        """One bias, and one weight per encoded feature, that score as the pipeline does; zeros are left out.

        w (v - mean) / sigma = (w / sigma) v - (w / sigma) mean: the second part goes to the feature's companion, which
        is 1 where the value is known.
        """
        weights = {name: float(weight) for name, weight in self.regression.weights.items()}
        if self.scaler is not None:
            for name in self.scaler.names & weights.keys():
                variance = self.scaler.vars.get(name, 0.0)
                weights[name] = weights[name] / variance**0.5 if variance else 0.0
                companion = name + IS_KNOWN
                weights[companion] = weights.get(companion, 0.0) - weights[name] * self.scaler.means.get(name, 0.0)
        return float(self.regression.intercept), {name: weight for name, weight in weights.items() if weight != 0.0}

    def take(self, bias: float, weights: Mapping[str, float]) -> None:
        """Predict as these folded weights do, and learn on from there; what the optimiser and the scaler remember that
        is not finite is forgotten. A standardised feature that the scaler has not met yet begins at weight 0."""
        own = dict(weights)
        if self.scaler is not None:
            for statistics in (self.scaler.means, self.scaler.vars):
                _keep_finite(statistics)
            for name in self.scaler.names & own.keys():
                mean, variance = self.scaler.means.get(name, 0.0), self.scaler.vars.get(name, 0.0)
                own[name + IS_KNOWN] = own.get(name + IS_KNOWN, 0.0) + own[name] * mean
                own[name] *= variance**0.5
        self.regression.intercept = bias
        self.regression._weights = utils.VectorDict(own)
        optimizer = self.regression.optimizer
        for attribute in ("g2", "n"):
            if hasattr(optimizer, attribute):
                _keep_finite(getattr(optimizer, attribute))
        if isinstance(optimizer, optim.FTRLProximal):  # its weights follow from its sums
            optimizer.z.clear()
            scale = {name: (optimizer.beta + optimizer.n[name] ** 0.5) / optimizer.alpha for name in own}
            optimizer.z.update({name: -weight * scale[name] for name, weight in own.items()})

    def state(self) -> PipelineState:
        """Everything it has learned."""
        optimizer, scaler = self.regression.optimizer, self.scaler
        return PipelineState(
            optimiser=self.optimiser,
            intercept=float(self.regression.intercept),
            iterations=optimizer.n_iterations,
            weights=_floats(self.regression.weights),
            squares=_floats(getattr(optimizer, "g2", getattr(optimizer, "n", {}))),
            sums=_floats(getattr(optimizer, "z", {})),
            counts=dict(scaler.counts) if scaler else {},
            means=_floats(scaler.means) if scaler else {},
            variances=_floats(scaler.vars) if scaler else {},
        )

    def _restore(self, state: PipelineState) -> None:
        if state.optimiser != self.optimiser:
            raise StateError(
                f"the stored model learned with {state.optimiser!r}, model.toml says {self.optimiser!r}: "
                "set it back, or give the model another name and start with an empty recovery directory"
            )
        optimizer = self.regression.optimizer
        self.regression.intercept = state.intercept
        self.regression._weights = utils.VectorDict(state.weights)
        optimizer.n_iterations = state.iterations
        for attribute, stored in (("g2", state.squares), ("n", state.squares), ("z", state.sums)):
            if hasattr(optimizer, attribute):
                getattr(optimizer, attribute).update(stored)
        if self.scaler is not None:
            self.scaler.counts.update(state.counts)
            self.scaler.means.update(state.means)
            self.scaler.vars.update(state.variances)


def _optimiser(learning: Learning) -> optim.base.Optimizer:
    match learning.optimiser:
        case "adagrad":
            return optim.AdaGrad(lr=_schedule(learning))
        case "ftrl":
            return optim.FTRLProximal(alpha=learning.rate, l2=0.0)
        case "sgd":
            return optim.SGD(lr=_schedule(learning))


def _schedule(learning: Learning) -> optim.base.Scheduler:
    match learning.schedule:
        case "constant":
            return optim.schedulers.Constant(learning.rate)
        case "inverse_scaling":
            return optim.schedulers.InverseScaling(learning.rate, learning.power)
        case "optimal":
            return optim.schedulers.Optimal(optim.losses.Log(), learning.alpha)


def _keep_finite(remembered: dict[Any, float]) -> None:
    for name in [name for name, value in remembered.items() if not isfinite(value)]:
        del remembered[name]


def _floats(mapping: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in mapping.items()}
