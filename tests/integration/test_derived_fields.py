"""Derived fields and labels told apart by them, in the flow as users run it, against the oracle."""

import random
from typing import Any

import pytest

from operators.expressions import parse
from operators.features.fields import Fields
from operators.rules import Rule, parse_rules
from operators.transactions.decoding import label_of
from operators.transactions.formats import Limits, read_transaction
from operators.transactions.records import Label, Transaction
from tests.integration.flow import pipeline
from tests.integration.test_flow import stamp
from tests.oracle_fields import FieldOracle
from tests.servers.kafka import Cluster, MockKafka

HOUR = 3_600_000
RULES = """
[[field]]
name = "unusual"
value = "amount > 2 * mean_amount_1h_before"

[[field]]
name = "dear_here"
value = "amount > 1.5 * mean_amount_1h_before_by_merchant"

[[field]]
name = "plain"
value = "not unusual"

[[rule]]
id = "unusual_often"
when = "unusual and sum_unusual_1h_by_merchant > 2"
message = "{sum_unusual_1h} of the user's, {sum_unusual_1h_by_merchant} here"

[[rule]]
id = "dear_twice"
when = "dear_here and sum_dear_here_2h > 1"

[[rule]]
id = "frauds_that_amounts_do_not_explain"
when = "fraud_count_plain_ever_by_merchant + fraud_count_dear_here_ever > 1"
message = "{fraud_rate_plain_last5_by_country}"
"""


def some_messages(phase: int) -> list[dict[str, Any]]:
    """Card payments within less than an hour, out of order, of which a fifth are known to be fraud an hour later. Each
    customer has a merchant: what comes by different ways does not come in the same order in every run."""
    chance = random.Random(phase)
    messages = []
    for number in range(300):
        at = phase * 20_000 + number * 9 + chance.uniform(-600, 0)
        user = chance.randrange(8)
        messages.append(
            {
                "transaction_id": f"t{phase}-{number}",
                "customer_id": f"c{user}",
                "amount": round(chance.lognormvariate(3, 1), 2),
                "merchant": f"m{user}",
                "country": chance.choice(["FR", "DE"]),
                "timestamp": stamp(at),
                "is_fraud": chance.random() < 0.2,
            }
        )
    return messages


def parsed(messages: list[dict[str, Any]]) -> list[tuple[Transaction, Label]]:
    pairs = (read_transaction(message, "", None, Limits()) for message in messages)
    return [(transaction, label_of(transaction, bool(flag), HOUR)) for transaction, flag in pairs]


def expected(oracle: FieldOracle, rules: tuple[Rule, ...], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The evidence of each rule at each transaction, and whether it fires; then the labels arrive."""
    known = parsed(messages)
    found = {}
    for transaction, _ in known:
        oracle.add(transaction)
        for rule in rules:
            if oracle.evaluate(parse(rule.when).tree, transaction):
                evidence = {name: oracle.value(name, transaction) for name in rule.names}
                found[transaction.transaction_id, rule.id] = evidence
    oracle.label([label for _, label in known])
    return found


@pytest.mark.timeout(300)
def test_alerts_by_derived_fields_and_their_labels_are_those_of_the_oracle(kafka: Cluster) -> None:
    processes = 1 if isinstance(kafka, MockKafka) else 2
    rule_set = parse_rules(RULES)
    oracle = FieldOracle(Fields(rule_set.fields))
    with pipeline(kafka, MODEL_FILE="", LABEL_MATURITY="30d") as flow:
        file = flow.folder / "rules.toml"
        file.write_text(RULES)
        wanted: dict[str, Any] = {}
        for phase in range(2):  # each run is restored from the one before, whose labels have arrived then
            messages = some_messages(phase)
            wanted |= expected(oracle, rule_set.rules, messages)
            flow.send(messages)
            flow.run(processes=processes, recover=True, RULES_FILE=str(file))
        found = {
            (alert["transaction_id"], rule["id"]): rule["evidence"]
            for alert in flow.alerts()
            for rule in alert["rules"]
        }
    assert {rule for _, rule in wanted} == {rule.id for rule in rule_set.rules}
    assert found == wanted
