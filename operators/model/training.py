"""The trainer: learns matured examples one by one, judges, publishes weights, watches for drift."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from zlib import crc32

import msgspec

from operators.measurements import Point, Value
from operators.model.balance import Balance, BalanceState
from operators.model.capacity import Capacity, CapacityState
from operators.model.cusum import ClassDrift, ClassDriftState
from operators.model.distributions import Distributions, DistributionsState, Shift
from operators.model.drift import Drift, DriftMonitor, DriftState
from operators.model.events import ModelEvent
from operators.model.first import FirstModel
from operators.model.join import Example
from operators.model.pipeline import OnlinePipeline, PipelineState
from operators.model.quality import Quality, log_loss
from operators.model.scoring import TrainedOn, Weights
from operators.model.specification import Learning, Specification
from operators.model.state import StateError, decode_state, encode_state

STATE_VERSION = 3
MOST_CORRECTION: Mapping[str, float] = {"adagrad": 100.0, "ftrl": 100.0, "sgd": 1.0}
"""What a correction weighs at most, against an example learned for the first time: as much as serves best where 10 to
2,000 examples came between. SGD, whose steps stay large, has forgotten the wrong label by itself."""
OLDER_VERSIONS = (1, 2)
"""What is read too: 1 knew no balance, 2 no freezing."""
SMALLEST = 1e-6
"""Drift is looked for in log-losses of at most 13.8, so that a few wrong labels alone are no drift."""

Output = Weights | ModelEvent | Point


class Trainer:
    """Owns one model. Each example is first judged by the score it was decided on (where there was no model yet, by the
    score of the model as it is now), then learned, frauds as far as they are in balance (`Balance`). A correction is
    not judged again; it is learned with the weight that takes the wrong label's gradient back, within a bound.

    Weights are published with an event and the points of `model_quality` and `model_drift` after `publish.examples`
    examples, or after `publish.seconds` of `now` where any example came. `now` (milliseconds, any clock) decides
    nothing else but `published_at`, so with an endless `publish.seconds` a replay publishes the same at the same
    examples. Weights that are not finite are never published; an event says so instead. A frozen one learns and
    measures as ever, and publishes nothing. A trainer made from a snapshot continues to the bit; StateError where it
    can't. Without one it goes on from a `first` model, if there is any. `maturity` (milliseconds) says when all of a
    day have matured, for the precision at the analysts' capacity.
    """

    def __init__(
        self,
        specification: Specification,
        snapshot: bytes | None = None,
        *,
        review_threshold: float = 0.5,
        block_threshold: float = 0.9,
        maturity: int = 0,
        first: FirstModel | None = None,
    ) -> None:
        self.specification = specification
        self.review_threshold, self.block_threshold = review_threshold, block_threshold
        state = None if snapshot is None else decode_state(snapshot, "trainer", STATE_VERSION, _State, OLDER_VERSIONS)
        monitor, learning = specification.monitor, specification.learning
        if state is None:
            self.examples = self.frauds = self.version = self._matured_at = 0
            self._unpublished = self._reports = 0
            self._published_at: int | None = None
            self.published: Weights | None = None
            self.frozen = False
            self.pipeline = OnlinePipeline(specification)
            self.quality = Quality(monitor.window)
            self.capacity = Capacity(monitor.capacity, maturity)
            self.drift = DriftMonitor(monitor)
            self.class_drift = ClassDrift(monitor.cusum_false_alarms)
            self.distributions = Distributions(specification)
            self.balance = _balance(learning)
            if first is not None:
                self.version, self.pipeline = first.weights.version, first.pipeline(specification)
                self.examples, self.frauds = first.weights.trained_on.examples, first.weights.trained_on.frauds
            return
        if state.name != specification.name:
            raise StateError(
                f"the stored model is {state.name!r}, model.toml names {specification.name!r}: "
                "give it back its name, or start with an empty recovery directory"
            )
        self.examples, self.frauds, self.version = state.examples, state.frauds, state.version
        self._matured_at, self._unpublished = state.matured_at, state.unpublished
        self._published_at = state.published_at
        self._reports = max(state.reports, state.version)
        self.published = Weights.from_json(state.published) if state.published else None
        self.frozen = state.frozen
        self.pipeline = OnlinePipeline(specification, state.pipeline)
        self.quality = Quality(monitor.window, state.scores, state.judged)
        self.capacity = Capacity(monitor.capacity, maturity, state.capacity)
        recent = (log_loss(*judged, SMALLEST) for judged in zip(state.scores, state.judged, strict=True))
        self.drift = DriftMonitor(monitor, state.drift, recent)
        self.class_drift = ClassDrift(monitor.cusum_false_alarms, state.class_drift)
        self.distributions = Distributions(specification, state.distributions)
        self.balance = _balance(learning, state.balance)

    def learn(self, examples: Iterable[Example], now: int) -> list[Output]:
        """Judges and learns the examples in order; what is published and found on the way. Without examples it
        publishes if it is time to."""
        if self._published_at is None:
            self._published_at = now
        output: list[Output] = []
        for example in examples:
            if not example.corrects:
                output += self._judge(example)
            for learned in self._to_learn(example):
                self._learn(learned)
                if self._unpublished >= self._publish_after():
                    output += self._publish(now)
        if self._unpublished and now - self._published_at >= self.specification.publish.seconds * 1000:
            output += self._publish(now)
        return output

    def flush(self, now: int) -> list[Output]:
        """Publishes what was learned since the last time, if anything was: for the end of the input."""
        return self._publish(now) if self._unpublished else []

    def freeze(self) -> None:
        """Publish nothing from now on."""
        self.frozen = True

    def unfreeze(self, now: int) -> list[Output]:
        """Publish again, what was learned meanwhile at once."""
        self.frozen = False
        return self._publish(now) if self.examples else []

    def roll_back(self, weights: Weights) -> None:
        """Go on from an older version of these weights, frozen: what was learned since is forgotten. The optimiser's
        own memory (how large the steps may be) and the scaler's statistics stay, as far as they are finite."""
        self.pipeline.take(weights.bias, weights.weights)
        self.version = max(self.version, weights.version)
        self.published = weights
        self.frozen = True

    def begin_anew(self) -> None:
        """Forget all that was learned, and whatever broke it."""
        self.pipeline = OnlinePipeline(self.specification)

    def as_first(self, now: int) -> FirstModel:
        """What another trainer can go on from: the model as it is now, as the version that is published next."""
        bias, weights = self.pipeline.fold()
        trained_on = TrainedOn(self.examples, self.frauds)
        metrics = self._metrics()
        published = Weights(self.specification.name, self.version + 1, trained_on, bias, weights, now, metrics)
        return FirstModel(published, self.pipeline.state())

    def snapshot(self) -> bytes:
        """Everything it knows."""
        return encode_state(
            "trainer",
            STATE_VERSION,
            _State(
                name=self.specification.name,
                examples=self.examples,
                frauds=self.frauds,
                version=self.version,
                matured_at=self._matured_at,
                unpublished=self._unpublished,
                published_at=self._published_at,
                pipeline=self.pipeline.state(),
                scores=list(self.quality.scores),
                judged=list(self.quality.frauds),
                drift=self.drift.state(),
                balance=self.balance.state(),
                distributions=self.distributions.state(),
                reports=self._reports,
                published=self.published.to_json() if self.published else b"",
                frozen=self.frozen,
                capacity=self.capacity.state(),
                class_drift=self.class_drift.state(),
            ),
        )

    def _judge(self, example: Example) -> Sequence[Output]:
        """By the score of its decision, as soon as it matures. Not before the first legitimate example: a stream of
        frauds alone says nothing of precision, and its log-loss nothing of drift."""
        self._matured_at = max(self._matured_at, example.matured_at)
        output = self._shifts(self.distributions.add(example.input, example.score, example.event_time))
        score = self.pipeline.predict(example.input) if example.score is None else example.score
        if not isfinite(score) or (example.is_fraud and not self.examples):
            return output
        self.quality.add(score, example.is_fraud)
        if example.user:
            self.capacity.add(example.user, score, example.is_fraud, example.event_time, example.matured_at)
        found = self.drift.update(log_loss(score, example.is_fraud, SMALLEST))
        moved = self.class_drift.update(score, example.is_fraud)
        if moved is not None:
            self.drift.note(moved.detector)
            output = [*output, self._event("drift", moved.message, moved.detector, moved.value)]
        return [*output, *map(self._drift_event, found)] if output or found else ()

    def _shifts(self, shifts: Sequence[Shift]) -> Sequence[Output]:
        """A point for each distance at the end of a window, and an event where drift begins."""
        time_ns = self._matured_at * 1_000_000 + self.examples % 1_000_000
        output: list[Output] = []
        for detector, value, drift, begins, message in shifts:
            tags = {"model": self.specification.name, "detector": detector}
            fields: dict[str, Value] = {"value": value, "drift": int(drift), "examples": self.examples}
            output.append(Point("model_drift", tags, fields, time_ns))
            if begins:
                output.append(self._event("drift", message, detector, value))
        return output

    def _to_learn(self, example: Example) -> Sequence[Example]:
        """What the balance lets through. A correction of a fraud that still waits takes its place; one of a correction
        that waits undoes it."""
        waiting = self.balance.take_back(example.transaction_id) if example.corrects else None
        if waiting is None:
            return self.balance.pass_through(example)
        return () if waiting.corrects else self.balance.pass_through(example._replace(corrects=False))

    def _learn(self, example: Example) -> None:
        weight = self._weight(example, example.is_fraud)
        if example.corrects:
            # The gradient of the right label, and that of the wrong one taken back, both at today's weights.
            fraud = self.pipeline.predict(example.input)
            right, wrong = (fraud, 1.0 - fraud) if example.is_fraud else (1.0 - fraud, fraud)
            most = (weight or 1.0) * MOST_CORRECTION[self.pipeline.optimiser]
            weight = min(weight + self._weight(example, not example.is_fraud) * right / max(wrong, SMALLEST), most)
            self.frauds += 1 if example.is_fraud else -1
        else:
            self.examples += 1
            self.frauds += example.is_fraud
        if weight:
            self.pipeline.learn(example.input, example.is_fraud, example.weight * weight)
        self._unpublished += 1

    def _weight(self, example: Example, is_fraud: bool) -> float:
        """What it counts with this label: 0 where it is a legitimate one that is not in the sample."""
        learning = self.specification.learning
        if is_fraud:
            return learning.fraud_weight
        share = learning.legitimate_share
        if share < 1.0 and crc32(example.transaction_id.encode()) >= share * 2**32:
            return 0.0
        return 1.0 / share

    def _publish_after(self) -> int:
        """How many new examples are enough: a quarter of what was learned when it last published, within bounds."""
        publishing = self.specification.publish
        return min(publishing.examples, max(publishing.first, (self.examples - self._unpublished) // 4))

    def _publish(self, now: int) -> list[Output]:
        """New weights, unless it is frozen or they are not finite, and in any case the points."""
        metrics = self._metrics()
        self._unpublished, self._published_at = 0, now
        self._reports += 1
        if self.frozen:
            return self._points(metrics)
        bias, folded = self.pipeline.fold()
        trained_on = TrainedOn(self.examples, self.frauds)
        weights = Weights(self.specification.name, self.version + 1, trained_on, bias, folded, now, metrics)
        if not weights.is_finite():
            wrong = [feature for feature, weight in folded.items() if not isfinite(weight)] or ["the bias"]
            message = f"not published after {self.examples} examples: not finite: {', '.join(sorted(wrong)[:5])}"
            return [self._event("not_published", message), *self._points(metrics)]
        self.version += 1
        self.published = weights
        message = f"version {self.version} after {self.examples} examples, {self.frauds} of them frauds"
        return [weights, self._event("published", message), *self._points(metrics)]

    def _metrics(self) -> dict[str, float]:
        metrics = self.quality.metrics(self.review_threshold, self.block_threshold)
        at_capacity = self.capacity.precision()
        return metrics if at_capacity is None else {**metrics, "precision_at_capacity": at_capacity}

    def _points(self, metrics: Mapping[str, float]) -> list[Output]:
        """Several reports within one millisecond of event time are told apart by their number."""
        name, time_ns = self.specification.name, self._matured_at * 1_000_000 + self._reports % 1_000_000
        counts: dict[str, Value] = {
            "version": self.version,
            "examples": self.examples,
            "frauds": self.frauds,
            "frauds_waiting": self.balance.waiting,
            "frauds_dropped": self.balance.dropped,
        }
        points: list[Output] = [Point("model_quality", {"model": name}, {**counts, **metrics}, time_ns)]
        found = self.drift.read()
        for detector, value in {**self.drift.statistics(), **self.class_drift.statistics()}.items():
            fields: dict[str, Value] = {"value": value, "drift": int(detector in found), "examples": self.examples}
            points.append(Point("model_drift", {"model": name, "detector": detector}, fields, time_ns))
        return points

    def _drift_event(self, drift: Drift) -> ModelEvent:
        message = (
            f"log-loss rose from {drift.before:.4f} (over {drift.examples_before} examples) "
            f"to {drift.after:.4f} (over the latest {drift.examples_after})"
        )
        return self._event("drift", message, drift.detector, drift.after - drift.before)

    def _event(self, event: str, message: str, detector: str | None = None, value: float | None = None) -> ModelEvent:
        return ModelEvent(event, self.specification.name, self.version, self._matured_at, message, detector, value)


class _State(msgspec.Struct, array_like=True):
    name: str
    examples: int
    frauds: int
    version: int
    matured_at: int
    unpublished: int
    published_at: int | None
    pipeline: PipelineState
    scores: list[float]
    judged: list[bool]
    drift: DriftState
    balance: BalanceState = BalanceState()
    distributions: DistributionsState = DistributionsState()
    reports: int = 0
    published: bytes = b""
    frozen: bool = False
    capacity: CapacityState = CapacityState()
    class_drift: ClassDriftState | None = None


def _balance(learning: Learning, state: BalanceState | None = None) -> Balance:
    return Balance(learning.most_frauds, learning.balance_window, learning.waiting_frauds, state)
