"""A new model on a simulated stream: only frauds are ever labelled, after an hour; all else is legitimate after a day.

`pytest tests/test_model_start_up.py -s` prints what it calls fraud in each hour.
"""

from collections import Counter
from random import Random

import orjson
import pytest

from fraudflow.simulation.cards import CardTraffic
from fraudflow.simulation.scenarios import Scenario
from fraudflow.simulation.stream import Mix, Stream
from fraudflow.simulation.world import HOUR, times
from operators.decisions.decide import Decider, Thresholds
from operators.features.chain import Chain
from operators.features.fields import Fields
from operators.features.plan import Plan
from operators.model.encoding import Encoder
from operators.model.files import load_model
from operators.model.join import Decided, LabelJoin
from operators.model.scoring import Weights
from operators.model.training import Trainer
from operators.rules import parse_rules
from operators.times import parse_time
from operators.transactions.formats import Limits, read_transaction
from operators.transactions.records import Label, Transaction

START = parse_time("2024-12-04T00:00:00Z")
HOURS, A_HOUR, BATCH = 36, 800, 50


class Live:
    """The flow's operators in a row; new weights are in force with the next batch."""

    def __init__(self) -> None:
        model = load_model("model.toml")
        plan = Plan.of(model.names, allowed_lateness=60_000, fields=Fields(model.fields))
        self.features = Chain(plan)
        self.decider = Decider(
            parse_rules(""), plan.name, Encoder(model, plan), Thresholds(0.5, 0.9), models=[model.name]
        )
        self.join = LabelJoin(maturity=24 * HOUR)
        self.trainer = Trainer(model)
        self.published: list[int] = []

    def step(self, transactions: list[Transaction], labels: list[Label]) -> list[float | None]:
        rows = self.features.update(transactions)
        self.features.labels(labels)
        now = transactions[-1].event_time
        decided = self.decider.decide(transactions, rows, now)
        examples = self.join.labels(labels)
        columns = zip(transactions, decided.inputs, decided.scores, strict=True)
        examples += self.join.decided(Decided(t.transaction_id, t.event_time, x, s, t.amount) for t, x, s in columns)
        for output in self.trainer.learn(examples, now):
            if isinstance(output, Weights):
                self.decider.use(output)
                self.published.append(now)
        return list(decided.scores)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_new_model_does_not_call_everything_fraud(seed: int) -> None:
    rng = Random(seed)
    end = START + HOURS * HOUR
    traffic = CardTraffic(rng, "card", users=1_000, start=START, span=HOURS * HOUR)
    mix = Mix(scenarios=tuple(scenario.value for scenario in Scenario), fraud_share=0.01, label_delay=HOUR)
    stream = Stream(traffic, rng, "s", mix)
    messages = list(stream.messages(times(rng, START, end, HOURS * A_HOUR)))
    known = (message for message in (*messages, *stream.remaining_labels()) if message.is_label)
    frauds = {orjson.loads(message.value)["transaction_id"] for message in known}

    live = Live()
    transactions: list[Transaction] = []
    labels: list[Label] = []
    count, found, alarms = Counter[int](), Counter[int](), Counter[int]()
    for message in messages:
        value = orjson.loads(message.value)
        if message.is_label:
            labels.append(Label(value["transaction_id"], True, message.time, "analyst"))
            continue
        transactions.append(read_transaction(value, "", None, Limits())[0])
        if len(transactions) < BATCH:
            continue
        for transaction, score in zip(transactions, live.step(transactions, labels), strict=True):
            hour = (transaction.event_time - START) // HOUR
            count[hour] += 1
            if score is not None and score >= 0.5:
                (found if transaction.transaction_id in frauds else alarms)[hour] += 1
        transactions, labels = [], []

    for hour in range(HOURS):
        print(
            f"hour {hour:2}: {count[hour]:5} transactions, {found[hour]:3} frauds found, {alarms[hour]:4} false alarms"
        )
    assert min(live.published) >= START + 24 * HOUR  # before, no legitimate transaction was known
    assert alarms[24] + alarms[25] <= 0.1 * (count[24] + count[25])
    assert sum(alarms[hour] for hour in range(26, HOURS)) <= 0.01 * sum(count[hour] for hour in range(26, HOURS))
    assert sum(found.values()) > 20
    assert live.trainer.balance.waiting == live.trainer.balance.dropped == 0
