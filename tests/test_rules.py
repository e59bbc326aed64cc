"""Rule sets: read, checked, compiled, and the rules that ship."""

from pathlib import Path

import pytest

from operators.expressions import Name, UnknownName
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.rules import RuleError, load_rules, parse_rules, render
from tests.records import HOUR, MINUTE, SECOND, transaction

SHIPPED = Path(__file__).parent.parent / "rules.toml"


def namespace(name):
    known = {"amount": Name("t.amount", "number", False), "count_1m": Name("f[0]", "number", False)}
    if name not in known:
        raise UnknownName(name, tuple(known))
    return known[name]


def test_defaults():
    (rule,) = parse_rules('[[rule]]\nid = "big"\nwhen = "amount > 1"').rules
    assert (rule.version, rule.severity, rule.decision, rule.cooldown_ms, rule.mode) == (
        1,
        "medium",
        "review",
        0,
        "active",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule", "not TOML"),
        ("[[rules]]", "unknown table 'rules': wanted [[rule]]"),
        ('rule = "x"', "wanted [[rule]], one for each rule"),
        ('[[rule]]\nid = "a"', "`when` is missing"),
        ('[[rule]]\nwhen = "amount > 1"', "rule 'number 1': `id` is missing"),
        (
            '[[rule]]\nid = "a"\nwhen = "amount > 1"\nseverty = "high"',
            "severty is an unknown field: wanted one of severity",
        ),
        (
            '[[rule]]\nid = "a"\nwhen = "amount > 1"\nseverity = "huge"',
            "severity is 'huge': wanted one of low, medium, high, critical",
        ),
        (
            '[[rule]]\nid = "a"\nwhen = "amount > 1"\nversion = "1"',
            "rule 'a': version is '1': wanted a whole number from 1 to",
        ),
        ('[[rule]]\nid = "a"\nwhen = "amount > 1"\ncooldown = "5 minutes"', "cooldown: '5 minutes' is not a duration"),
        ('[[rule]]\nid = "a b"\nwhen = "amount > 1"', "rule id 'a b'"),
        ('[[rule]]\nid = "a"\nwhen = "amount >"', "rule 'a': when: not an expression"),
        ('[[rule]]\nid = "a"\nwhen = "amount > 1"\n[[rule]]\nid = "a"\nwhen = "amount > 2"', "more than one rule"),
    ],
)
def test_a_bad_rule_is_refused_with_its_name_and_reason(text, said):
    with pytest.raises(RuleError) as refused:
        parse_rules(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('when = "amont > 1"', "unknown name 'amont'; nearest known: amount"),
        ('when = "amount"', "a condition is wanted, this is a number"),
        ('when = "amount > 1"\nmessage = "{conut_1m}"', "message: unknown name 'conut_1m'"),
    ],
)
def test_names_are_checked_when_compiled(rule, said):
    with pytest.raises(RuleError) as refused:
        parse_rules(f'[[rule]]\nid = "a"\n{rule}').compile(namespace)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RuleError, match=r"none\.toml: No such file"):
        load_rules(tmp_path / "none.toml")


def test_every_hit_of_a_batch_in_order_with_its_evidence():
    rules = parse_rules(
        '[[rule]]\nid = "big"\nwhen = "amount > 10"\nmessage = "{amount} and {count_1m}"\n'
        '[[rule]]\nid = "busy"\nwhen = "count_1m > 3"'
    ).compile(namespace)
    batch = [transaction(amount=11.5), transaction(amount=1), transaction(amount=12)]
    rows = [(1,), (4,), (5,)]
    assert rules.evaluate(batch, rows) == [(0, 0), (1, 1), (2, 0), (2, 1)]
    assert rules.evidence(0, batch[2], rows[2]) == {"amount": 12, "count_1m": 5}
    assert render("{amount} and {count_1m}", {"amount": 12345.5, "count_1m": 5}) == "12 345.5 and 5"


def test_an_empty_set_of_rules_never_fires():
    assert parse_rules("").compile(namespace).evaluate([transaction()], [()]) == []


def fired(*transactions):
    """Which of the shipped rules fire at each transaction."""
    rules = load_rules(SHIPPED)
    plan = Plan.of(rules.names, allowed_lateness=HOUR)
    compiled = rules.compile(plan.name)
    rows = Windows(plan.entities[0]).update(transactions)
    hits = [set() for _ in transactions]
    for index, number in compiled.evaluate(transactions, rows):
        hits[index].add(rules.rules[number].id)
    return hits


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"format": "simple", "amount": 10_000}, set()),
        ({"format": "simple", "amount": 10_000.01}, {"high_amount"}),
        ({"format": "card", "amount": 1_000}, set()),
        ({"format": "card", "amount": 1_000.01}, {"high_card_amount"}),
        ({"format": "paysim", "type": "TRANSFER", "amount": 200_000}, set()),
        ({"format": "paysim", "type": "TRANSFER", "amount": 200_000.01}, {"large_transfer"}),
        ({"format": "paysim", "type": "CASH_OUT", "amount": 500_000}, set()),
        ({"format": "paysim", "amount": 500_000}, set()),
    ],
)
def test_the_shipped_rules_on_amounts(fields, expected):
    assert fired(transaction(**fields)) == [expected]


def test_velocity_fires_at_the_fourth_within_a_minute():
    times = [0, 20 * SECOND, 40 * SECOND, 59_999, 60 * SECOND, 80 * SECOND]
    assert fired(*(transaction(at=at) for at in times)) == [
        set(),
        set(),
        set(),
        {"velocity"},
        {"velocity"},
        {"velocity"},
    ]
    times = [0, 30 * SECOND, 59 * SECOND, 60 * SECOND, 120 * SECOND]
    assert fired(*(transaction(at=at) for at in times)) == [set()] * 5


def test_several_locations_fire_at_the_second_one_within_five_minutes():
    visits = [("Paris", 0), ("Paris", MINUTE), ("Rome", 6 * MINUTE - 1), ("Rome", 6 * MINUTE), (None, 7 * MINUTE)]
    batch = [transaction(at=at, location=location) for location, at in visits]
    assert fired(*batch) == [set(), set(), {"several_locations"}, set(), set()]


def test_the_tumbling_rule_counts_by_the_clock():
    late_half = [transaction(at=30 * SECOND + i * 2 * SECOND) for i in range(11)]
    across = [transaction(at=45 * SECOND + i * 2 * SECOND) for i in range(11)]
    assert [{"busy_minute"} <= hits for hits in fired(*late_half)] == [False] * 10 + [True]
    assert not any("busy_minute" in hits for hits in fired(*across))
