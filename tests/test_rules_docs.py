"""Every snippet of docs/rules.md does what it says."""

import re
import shlex
from pathlib import Path

import orjson
import pytest
import typer.main

from flows.settings import Settings
from fraudflow.cli import app
from operators.expressions import ExpressionError, Name, compile_condition, parse
from operators.expressions.language import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_NUMBER
from operators.features.plan import Plan
from operators.rules import ChangeReader, Rule, RulesInForce, Start, load_rules
from operators.rules.checking import check_rules, known_name
from operators.rules.examples import run_examples
from operators.rules.rule_set import LONGEST_MESSAGE
from operators.transactions.formats import Limits
from tests.records import HOUR
from tests.test_rules_changes import messages

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "rules.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", snippets("toml"))
def test_the_rules_are_right_and_their_examples_hold(text: str) -> None:
    checked = check_rules(text)
    assert checked.problems == []
    assert [failure for rule in checked.rules for failure in run_examples(rule, HOUR, Limits(), checked.fields)] == []


def test_the_messages_are_taken() -> None:
    base = load_rules(ROOT / "rules.toml")
    plan = Plan.of(base.names, allowed_lateness=HOUR)
    reader = ChangeReader(plan.name, known_name, "fraud-lists")
    rules = RulesInForce(base, plan.name, Start())
    for text, topic in zip(snippets("json"), ("fraud-lists", "fraud-rules"), strict=True):
        pairs = [(line["key"], line["value"]) for line in map(orjson.loads, text.splitlines())]
        changes = reader.read(messages(*pairs, topic=topic))
        assert {event.event for event in changes.events} <= {"rule_changed", "list_changed"}
        rules.apply(changes)
    in_force = {rule.id: rule for rule in rules.compiled.rules}
    assert in_force["velocity"].version == 2
    assert in_force["night_shift"].mode == "shadow"
    assert "busy_minute" not in in_force
    assert rules.lists["blocked"] == {}
    assert set(rules.lists["trusted"]) == {"12345"}


@pytest.mark.parametrize("line", [line for text in snippets("sh") for line in text.splitlines()])
def test_the_commands_are_those_that_there_are(line: str) -> None:
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "fraudflow", "rules"]
    group = typer.main.get_command(app).commands["rules"]  # type: ignore[attr-defined]
    group.commands[words[4]].make_context(words[4], words[5:])


def test_the_table_of_fields_is_complete() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| (?:`?([\w ]+)`?) \|", TEXT, re.MULTILINE))
    assert set(documented) == set(Rule.__struct_fields__)
    rule = Rule(id="a", when="amount > 1")
    for field in ("version", "severity", "decision", "cooldown", "mode"):
        assert documented[field] == str(getattr(rule, field))


def test_the_bounds_and_functions_are_those_that_there_are() -> None:
    assert f"At most {MAX_LENGTH:,} characters (a message {LONGEST_MESSAGE:,}),\nnested {MAX_DEPTH} deep" in TEXT
    assert f"up to {MAX_NUMBER:.0e}".replace("e+", "e") in TEXT
    for function in FUNCTIONS:
        assert f"`{function}`" in TEXT
    assert Settings().list_topic in TEXT
    assert Settings().rule_topic in TEXT


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('country != "FR"', False),
        ('country not in list("x")', False),
        ('country not in ("FR", "DE")', False),
        ('not country == "FR"', True),
        ("missing(country)", True),
        ("amount / 0 > 1", False),
        ("log(0) < 1", False),
        ("sqrt(-1) < 1", False),
        ("1 < amount <= 10", True),
    ],
)
def test_what_is_said_of_missing_values(when: str, expected: bool) -> None:
    names = {"country": Name("None", "text", True), "amount": Name("10.0", "number", False)}
    code = compile_condition(parse(when), lambda name: names[name], lists=["x"])
    from operators.expressions import GLOBALS

    assert eval(code, {**GLOBALS, "_list0": {}.get}) is expected


def test_texts_have_no_order() -> None:
    with pytest.raises(ExpressionError):
        compile_condition(parse('country > "A"'), known_name)
