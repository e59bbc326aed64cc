"""A history driven through the flow's own operators, in event-time order: predict first, learn when the label is due."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fraudflow.evaluation.history import Labelled
from operators.decisions.decide import DecidedBatch, Decider, Thresholds
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.model.encoding import Encoder
from operators.model.join import Decided, Example, LabelJoin
from operators.model.scoring import Weights
from operators.model.specification import Specification
from operators.model.training import Trainer
from operators.rules import RuleSet
from operators.transactions.decoding import label_of

BATCH = 200
"""Transactions between two looks at what has matured: published weights are in force from the next batch on."""


class Judged(NamedTuple):
    """What was decided on one transaction, and what it was."""

    transaction_id: str
    event_time: int
    amount: float
    score: float | None
    verdict: str
    rules: tuple[str, ...]
    is_fraud: bool | None


class Replay:
    """The operators of the flow without the engine: one key group for each entity, one shard, no broker between
    trainer and scorer. The same history gives the same decisions."""

    def __init__(
        self,
        rules: RuleSet,
        model: Specification | None,
        thresholds: Thresholds,
        *,
        label_delay: int,
        label_maturity: int,
        allowed_lateness: int,
    ) -> None:
        plan = Plan.of((*rules.names, *(model.names if model else ())), allowed_lateness=allowed_lateness)
        self.windows = [Windows(entity) for entity in plan.entities]
        self.decider = Decider(rules, plan.name, Encoder(model, plan) if model else None, thresholds)
        self.label_delay = label_delay
        self.join = LabelJoin(maturity=label_maturity)
        self.trainer = Trainer(model, review_threshold=thresholds.review) if model else None

    @property
    def weights(self) -> Weights | None:
        """The weights in force."""
        return self.decider.weights

    def run(self, history: Sequence[Labelled]) -> Iterator[list[Judged]]:
        """Decide on the history in order, batch by batch."""
        for start in range(0, len(history), BATCH):
            yield self._step(history[start : start + BATCH])

    def _step(self, rows: Sequence[Labelled]) -> list[Judged]:
        transactions = [row.transaction for row in rows]
        features = self.windows[0].update(transactions)
        for windows in self.windows[1:]:
            features = [own + more for own, more in zip(features, windows.update(transactions), strict=True)]
        now = transactions[-1].event_time
        decided = self.decider.decide(transactions, features, now)
        if self.trainer:
            self._learn(rows, decided, now)
        suspicious = {decision.transaction.transaction_id: decision for decision in decided.suspicious}
        judged = []
        for row, score in zip(rows, decided.scores, strict=True):
            transaction = row.transaction
            decision = suspicious.get(transaction.transaction_id)
            judged.append(
                Judged(
                    transaction.transaction_id,
                    transaction.event_time,
                    transaction.amount,
                    score,
                    decision.verdict if decision else "allow",
                    tuple(hit.id for hit in decision.hits) if decision else (),
                    row.is_fraud,
                )
            )
        return judged

    def _learn(self, rows: Sequence[Labelled], decided: DecidedBatch, now: int) -> None:
        labels = [label_of(row.transaction, row.is_fraud, self.label_delay) for row in rows if row.is_fraud is not None]
        matured: list[Example] = self.join.labels(labels)
        matured += self.join.decided(
            Decided(
                row.transaction.transaction_id, row.transaction.event_time, model_input, score, row.transaction.amount
            )
            for row, model_input, score in zip(rows, decided.inputs, decided.scores, strict=True)
        )
        assert self.trainer is not None
        for output in self.trainer.learn(matured, now):
            if isinstance(output, Weights):
                self.decider.use(output)
