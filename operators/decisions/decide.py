"""Judge each transaction by the rules and by the model's score: the one place where a decision is made."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec

from operators.decisions.state import restoring, unpacked, version_of
from operators.expressions import Namespace
from operators.features.marks import LATE, count_late, warming_up
from operators.model.control import Control
from operators.model.encoding import Encoder
from operators.model.in_force import ModelsInForce, ModelsState
from operators.model.join import Decided
from operators.model.scoring import Reason, Weights
from operators.rules import SEVERITIES, Changes, CompiledRules, RuleSet, RulesInForce, Severity, Start, render
from operators.rules.in_force import State as RulesState
from operators.transactions.records import Transaction

VERSION = 3
OLDER_VERSION = 2
NOTHING = Start()
Row = tuple[Any, ...]
Verdict = Literal["allow", "review", "block"]
VERDICTS: tuple[Verdict, ...] = ("allow", "review", "block")

# How severe an alert is that only the score raised.
SCORE_SEVERITY: dict[Verdict, Severity] = {"review": "medium", "block": "high"}


class Thresholds(NamedTuple):
    """From which score on a transaction is reviewed, and blocked."""

    review: float
    block: float

    def verdict(self, score: float | None) -> Verdict:
        if score is None or score < self.review:
            return "allow"
        return "block" if score >= self.block else "review"


class Hit(msgspec.Struct, frozen=True):
    """One rule that fired, with the values that made it fire. `cooldown` in milliseconds; `warming_up` are the names of
    its evidence whose windows were not full yet."""

    id: str
    version: int
    severity: Severity
    decision: Verdict
    message: str
    evidence: dict[str, Any]
    cooldown: int = 0
    warming_up: list[str] = []


class Model(msgspec.Struct, frozen=True):
    """Which model gave a score; with `bias`, the reasons add up to the score's logit."""

    name: str
    version: int
    bias: float


class Decision(msgspec.Struct, frozen=True):
    """A suspicious transaction: why, how much, and by what. `by_score` is what the score alone would have decided.

    `late`: it came too late for complete windows. `warming_up`: the features in its rules' evidence and behind its
    reasons whose windows were not full yet.
    """

    transaction: Transaction
    verdict: Verdict
    severity: Severity
    score: float | None
    by_score: Verdict
    model: Model | None
    hits: list[Hit]
    reasons: list[Reason]
    detected_at: int
    late: bool = False
    warming_up: list[str] = []


class DecidedBatch(NamedTuple):
    """A batch judged. `inputs` are the model's inputs as they were at the decision; `hits` counts every rule that fired
    by (rule, severity), shadow rules too; `suspicious` holds what is not allowed. Where there are several models,
    `scores` are the `champion`'s, and `others` holds those of the challengers by name."""

    transactions: Sequence[Transaction]
    inputs: Sequence[dict[str, float]]
    scores: Sequence[float | None]
    suspicious: list[Decision]
    hits: dict[tuple[str, str], int]
    decided_at: int
    late: int = 0
    repeated: int = 0
    champion: str = ""
    others: Mapping[str, Sequence[float | None]] = {}


def decided_of(batch: DecidedBatch) -> Iterator[Decided]:
    """What the label join keeps of each transaction."""
    rows = zip(batch.transactions, batch.inputs, batch.scores, strict=True)
    if not batch.champion:
        yield from (Decided(t.transaction_id, t.event_time, x, score, t.amount, user=t.user_id) for t, x, score in rows)
        return
    for index, (t, x, score) in enumerate(rows):
        scored = {name: found for name, scores in batch.others.items() if (found := scores[index]) is not None}
        yield Decided(t.transaction_id, t.event_time, x, score, t.amount, batch.champion, scored, t.user_id)


class Decider:
    """Rules and models of one shard, those of `models` by name. Its state is what changed in the rules and lists, the
    weights in force, and the commands that hold. `columns` and `made_of` are the plan's."""

    def __init__(
        self,
        rules: RuleSet,
        namespace: Namespace,
        encoder: Encoder | None,
        thresholds: Thresholds,
        start: Start = NOTHING,
        columns: Sequence[str] = (),
        models: Sequence[str] = (),
        made_of: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> None:
        self.columns = columns
        self.made_of = made_of
        self.in_force = RulesInForce(rules, namespace, start)
        self.encoder = encoder
        self.thresholds = thresholds
        self.models = ModelsInForce(models)

    @property
    def rules(self) -> CompiledRules:
        """The rules in force."""
        return self.in_force.compiled

    def change(self, changes: Changes) -> None:
        """Decide by the changed rules and lists from now on."""
        self.in_force.apply(changes)

    @property
    def weights(self) -> Weights | None:
        """The weights that decide."""
        return self.models.weights

    def use(self, weights: Weights) -> None:
        """Score with these weights from now on; the last ones given are in force, whatever their version."""
        self.models.use(weights)

    def obey(self, control: Control) -> None:
        """Freeze, roll back, promote, rules only: in force from now on."""
        self.models.obey(control)

    def decide(
        self,
        transactions: Sequence[Transaction],
        rows: Sequence[Row],
        now: int,
        marks: Sequence[int] = (),
        repeated: int = 0,
    ) -> DecidedBatch:
        """Judge a batch: `rows` are the features of each transaction, `now` is the wall clock in milliseconds, `marks`
        what is told of each row beside its values (none where there is nothing to tell)."""
        if transactions:
            self.in_force.pass_time(transactions[-1].event_time)
        inputs: Sequence[dict[str, float]] = self.encoder.encode(transactions, rows) if self.encoder else []
        scores = self.models.scorer.scores(inputs) if self.encoder else [None] * len(transactions)
        fired: dict[int, list[int]] = {}
        counts: dict[tuple[str, str], int] = {}
        in_force = self.rules
        for index, number in in_force.evaluate(transactions, rows):
            rule = in_force.rules[number]
            counts[rule.id, rule.severity] = counts.get((rule.id, rule.severity), 0) + 1
            if rule.mode == "active":
                fired.setdefault(index, []).append(number)
        least = self.thresholds.review
        scored = bool(self.encoder) and not self.models.rules_only
        for index, score in enumerate(scores if scored else ()):
            if score is not None and score >= least:
                fired.setdefault(index, [])
        suspicious = []
        for index in sorted(fired):
            mark = marks[index] if marks else 0
            filling = warming_up(mark, self.columns, self.made_of)
            hits = [self._hit(number, transactions[index], rows[index], filling) for number in fired[index]]
            score, model_input = (scores[index], inputs[index]) if scored else (None, {})
            decision = self._judge(transactions[index], hits, score, model_input, now)
            suspicious.append(self._marked(decision, mark, filling) if mark else decision)
        champion, others = self.models.beside(inputs)
        late = count_late(marks)
        return DecidedBatch(transactions, inputs, scores, suspicious, counts, now, late, repeated, champion, others)

    def _judge(
        self, transaction: Transaction, hits: list[Hit], score: float | None, model_input: dict[str, float], now: int
    ) -> Decision:
        by_score = self.thresholds.verdict(score)
        severities = [hit.severity for hit in hits]
        if by_score != "allow":
            severities.append(SCORE_SEVERITY[by_score])
        weights = self.weights if score is not None else None
        return Decision(
            transaction=transaction,
            verdict=max((by_score, *(hit.decision for hit in hits)), key=VERDICTS.index),
            severity=max(severities, key=SEVERITIES.index),
            score=score,
            by_score=by_score,
            model=Model(weights.name, weights.version, weights.bias) if weights else None,
            hits=hits,
            reasons=self.models.scorer.reasons(model_input) if weights else [],
            detected_at=now,
        )

    def _marked(self, decision: Decision, mark: int, filling: Collection[str]) -> Decision:
        """The decision, which tells what was not complete of what made it."""
        reads = self.encoder.reads if self.encoder else {}
        used = [name for hit in decision.hits for name in hit.warming_up]
        used += [name for reason in decision.reasons for name in reads.get(reason.feature, ()) if name in filling]
        return msgspec.structs.replace(decision, late=bool(mark & LATE), warming_up=sorted(set(used)))

    def _hit(self, number: int, transaction: Transaction, row: Row, filling: Collection[str]) -> Hit:
        rule = self.rules.rules[number]
        evidence = self.rules.evidence(number, transaction, row)
        message = render(rule.message, evidence) or rule.when
        warming = [name for name in evidence if name in filling]
        return Hit(rule.id, rule.version, rule.severity, rule.decision, message, evidence, rule.cooldown_ms, warming)

    def snapshot(self) -> bytes:
        """Own format, versioned."""
        return msgspec.msgpack.encode((VERSION, self.models.state(), self.in_force.state()))

    def restore(self, snapshot: bytes) -> None:
        """Continue from what `snapshot` gave, also from formats 1 (the weights' record or nothing) and 2 (that and the
        rules). Raises StateError, and RuleError for a rule that this flow can't run."""
        if not snapshot:
            return
        with restoring("decisions"):
            rules = self._restore_models(snapshot)
        self.in_force.restore(rules)

    def _restore_models(self, snapshot: bytes) -> RulesState:
        """And gives what the rules are to be restored from."""
        if snapshot.startswith(b"{"):
            self.use(Weights.from_json(snapshot))
            return RulesState()
        if version_of(snapshot) == OLDER_VERSION:
            _, record, rules = unpacked("decisions", OLDER_VERSION, snapshot, tuple[int, bytes, RulesState])
            if record:
                self.use(Weights.from_json(record))
        else:
            _, models, rules = unpacked("decisions", VERSION, snapshot, tuple[int, ModelsState, RulesState])
            self.models = ModelsInForce(self.models.names, models)
        return rules
