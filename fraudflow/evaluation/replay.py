"""A history driven through the flow's own operators in event-time order: predict first, learn when a label is due."""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import structs

from fraudflow.evaluation.course import Course
from fraudflow.evaluation.history import Labelled
from fraudflow.evaluation.judged import Judged
from operators.decisions.decide import DecidedBatch, Decider, Thresholds, decided_of
from operators.features.chain import Chain
from operators.features.fields import Fields
from operators.features.plan import LabelMemory, Plan
from operators.model.encoding import Encoder
from operators.model.first import FirstModel
from operators.model.join import Example, LabelJoin
from operators.model.scoring import Weights
from operators.model.specification import Specification
from operators.model.training import Trainer
from operators.rules import RuleSet
from operators.transactions.decoding import label_of
from operators.transactions.records import Label

PUBLISH_SECONDS = 3_600.0
"""How long new weights may take at most where examples are few. A history's hours pass in no time, labels take longer,
and measuring the quality for each publication takes a millisecond."""
BATCH = 200
"""Transactions between two looks at what has matured: published weights are in force from the next batch on."""


class Features:
    """The rows of the windows' features of a history, batch by batch: one key group for each entity."""

    def __init__(self, plan: Plan, label_delay: int) -> None:
        self.chain = Chain(plan)
        self.label_delay = label_delay

    def of(self, rows: Sequence[Labelled]) -> list[Any]:
        """A row for each transaction, made of what came before; then the labels enter, which count from their arrival
        on."""
        features = self.chain.update([row.transaction for row in rows])
        if self.chain.takes_labels:
            self.chain.labels(self.labels(rows))
        return features

    def labels(self, rows: Sequence[Labelled]) -> list[Label]:
        """The labels of a batch, those that there are."""
        return [label_of(row.transaction, row.is_fraud, self.label_delay) for row in rows if row.is_fraud is not None]


class Replay:
    """The operators of the flow without the engine: one key group for each entity, one shard, no broker between
    trainer and scorer. The same history gives the same decisions. It begins with a `first` model if there is one."""

    def __init__(
        self,
        rules: RuleSet,
        model: Specification | None,
        thresholds: Thresholds,
        *,
        label_delay: int,
        label_maturity: int,
        allowed_lateness: int,
        first: FirstModel | None = None,
    ) -> None:
        if model:
            publish = structs.replace(model.publish, seconds=max(model.publish.seconds, PUBLISH_SECONDS))
            model = structs.replace(model, publish=publish)
        plan = Plan.of(
            (*rules.names, *(model.names if model else ())),
            allowed_lateness=allowed_lateness,
            fields=Fields((*rules.fields, *(model.fields if model else ()))),
            memory=LabelMemory(label_maturity),
        )
        self.features = Features(plan, label_delay)
        names = [model.name] if model else []
        self.decider = Decider(rules, plan.name, Encoder(model, plan) if model else None, thresholds, models=names)
        self.judged = Judged()
        self._now = 0
        self.course = Course()
        self.join = LabelJoin(maturity=label_maturity, max_corrections=0)  # a file has one label for a transaction
        self.trainer = Trainer(model, review_threshold=thresholds.review, first=first) if model else None
        if first is not None and self.trainer:
            self.decider.use(first.weights)

    @property
    def weights(self) -> Weights | None:
        """The weights in force."""
        return self.decider.weights

    def run(self, history: Sequence[Labelled]) -> Iterator[int]:
        """Decide on the history in order, batch by batch: how many so far. Afterwards `judged` holds the decisions and
        `course` how the model came about."""
        for start in range(0, len(history), BATCH):
            self._step(history[start : start + BATCH])
            yield min(start + BATCH, len(history))
        self.judged.close()

    def finish(self) -> None:
        """Learn what still waits for its label, too: after the end of the history, nothing more is decided on."""
        if self.trainer:
            self.trainer.learn(self.join.finish(), self._now)

    def _step(self, rows: Sequence[Labelled]) -> None:
        features = self.features.of(rows)
        transactions = [row.transaction for row in rows]
        now = self._now = transactions[-1].event_time
        decided = self.decider.decide(transactions, features, now)
        self.judged.add(transactions, decided.scores, decided.suspicious, [row.is_fraud for row in rows])
        if self.trainer:
            self._learn(self.trainer, rows, decided, now)

    def _learn(self, trainer: Trainer, rows: Sequence[Labelled], decided: DecidedBatch, now: int) -> None:
        matured: list[Example] = self.join.labels(self.features.labels(rows))
        matured += self.join.decided(decided_of(decided))
        for output in trainer.learn(matured, now):
            self.course.add(output, now)
            if isinstance(output, Weights):
                self.decider.use(output)
