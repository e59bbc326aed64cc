"""`fraudflow rules backtest`: the flow's own judgement on a history, and what is told of it."""

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fraudflow.evaluation.history import Labelled
from fraudflow.rules.backtest import _entries
from fraudflow.rules.findings import findings
from fraudflow.rules.terminal import money, warming_up
from fraudflow.rules.trial import columns, run
from operators.decisions.cooldown import Cooldown
from operators.decisions.decide import VERDICTS, Decider, Thresholds
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.rules import ListChange, parse_rules
from operators.rules.changes import FOREVER
from tests.records import DAY, HOUR, MINUTE, transaction

ROOT = Path(__file__).parent.parent
EXCERPT = ROOT / "data" / "paysim_excerpt.csv.gz"
RULES = """
[[rule]]
id = "large"
when = "amount > 100"
[[rule]]
id = "busy"
when = "count_1h > 1"
severity = "critical"
decision = "block"
cooldown = "1d"
[[rule]]
id = "tried"
when = "amount > 50"
mode = "shadow"
[[rule]]
id = "listed"
when = 'user_id in list("blocked")'
"""
HISTORY = [
    Labelled(transaction("ann", 0, 200.0), True),  # large, tried
    Labelled(transaction("ann", MINUTE, 60.0), False),  # busy, tried
    Labelled(transaction("ann", 2 * MINUTE, 10.0), None),  # busy, kept back by its cooldown
    Labelled(transaction("bob", HOUR, 300.0), False),  # large, tried
    Labelled(transaction("cat", DAY, 70.0), True),  # tried
    Labelled(transaction("mal", 2 * DAY, 5.0), True),  # listed
]
LISTS = [ListChange("blocked", "mal", FOREVER, 0)]


def found_in(history=HISTORY, *rules):
    sets = [parse_rules(text) for text in rules or (RULES,)]
    trials = run(history, sets, LISTS, HOUR)
    return findings(columns(history), trials, [f"{number}.toml" for number in range(len(sets))])


def test_the_figures_of_a_small_history():
    found = found_in()
    assert (found["transactions"], found["days"], found["labelled"], found["frauds"]) == (6, 2.0, 5, 3)
    assert (found["amount"], found["fraud_amount"]) == (645.0, 275.0)
    by_rule = {rule["id"]: rule for rule in found["rules"]["by_rule"]}
    large = by_rule["large"]
    assert {field: large[field] for field in ("hits", "frauds", "precision", "caught", "bothered", "alone")} == {
        "hits": 2,
        "frauds": 1,
        "precision": 0.5,
        "caught": 200.0,
        "bothered": 300.0,
        "alone": 0,
    }
    assert large["recall"] == pytest.approx(1 / 3)
    assert (by_rule["busy"]["hits"], by_rule["busy"]["precision"], by_rule["busy"]["alone"]) == (2, 0.0, 1)
    assert (by_rule["tried"]["hits"], by_rule["tried"]["hits_a_day"], by_rule["tried"]["frauds_alone"]) == (4, 2.0, 1)
    assert by_rule["listed"]["frauds"] == 1
    assert found["rules"]["overlap"]["large"] == {"large": 2, "busy": 0, "tried": 2, "listed": 0}
    decisions = found["rules"]["decisions"]
    assert {verdict: decisions[verdict] for verdict in VERDICTS} == {"allow": 1, "review": 3, "block": 2}
    assert (decisions["hits"], decisions["frauds"], decisions["precision"]) == (5, 2, 0.5)
    assert (found["rules"]["alerts"], found["rules"]["alerts_a_day"]) == (4, 2.0)
    assert found["rules"]["alerts_by_day"] == {"2024-12-04": 3, "2024-12-06": 1}


def test_the_decisions_that_another_rule_set_would_change():
    other = RULES.replace("amount > 100", "amount > 250").replace("count_1h > 1", "count_1h > 2")
    found = found_in(HISTORY, other, RULES)
    assert found["changes"] == [
        {
            "from": "review",
            "to": "allow",
            "transactions": 1,
            "frauds": 1,
            "fraud_amount": 200.0,
            "legitimate_amount": 0,
        },
        {"from": "block", "to": "allow", "transactions": 1, "frauds": 0, "fraud_amount": 0, "legitimate_amount": 60.0},
    ]
    assert [(one["transaction_id"], one["from"], one["to"], one["is_fraud"]) for one in found["changed"]] == [
        ("ann@0", "review", "allow", True),
        (f"ann@{MINUTE}", "block", "allow", False),
    ]
    assert found_in(HISTORY, RULES, RULES)["changes"] == []


def test_without_labels_what_has_no_meaning_is_null():
    found = found_in([Labelled(row.transaction, None) for row in HISTORY])
    decisions = found["rules"]["decisions"]
    assert (decisions["precision"], decisions["recall"], decisions["caught_share"]) == (None, None, None)
    json.dumps(found)


def test_rules_whose_windows_were_not_full_are_told():
    rules = "[[rule]]\nid = 'wide'\nwhen = 'count_1d > 1'\n[[rule]]\nid = 'plain'\nwhen = 'amount > 1'\n"
    rules += "[[rule]]\nid = 'ever'\nwhen = 'count_ever > 1'\n[[rule]]\nid = 'short'\nwhen = 'count_1m > 0'\n"
    rules += "[[rule]]\nid = 'endless'\nwhen = 'count_30d > 1_000'\n"
    history = [Labelled(transaction("ann", hour * HOUR), None) for hour in range(60)]
    found = found_in(history, rules)
    told = {
        rule["id"]: (rule["full_from"], rule["hits"], rule["hits_warming_up"]) for rule in found["rules"]["by_rule"]
    }
    assert told == {
        "wide": ("2024-12-05T12:00:00.000Z", 59, 23),
        "plain": (None, 60, 0),
        "ever": (None, 59, 0),
        "short": ("2024-12-04T12:01:00.000Z", 60, 1),
        "endless": ("2025-01-03T12:00:00.000Z", 0, 0),
    }
    assert warming_up(found, found["rules"]) == [
        "wide until 2024-12-05T12:00: 23 of its 59 hits",
        "short until 2024-12-04T12:01: 1 of its 60 hits",
        "endless until 2025-01-03T12:00, after the end of the history: 0 of its 0 hits",
    ]


def test_it_decides_as_the_flow_does():
    rules = parse_rules(f"{RULES}[[rule]]\nid = 'receiver'\nwhen = 'count_2h_by_receiver > 5'\ncooldown = '1h'\n")
    chance = random.Random(2)
    history = [
        Labelled(
            transaction(f"u{chance.randrange(30)}", n * MINUTE, chance.uniform(0, 120), receiver_id=f"r{n % 9}"), None
        )
        for n in range(3000)
    ]
    (trial,) = run(history, [rules], [], HOUR)
    assert len(trial.rows[-1])
    plan = Plan.of(rules.names, allowed_lateness=HOUR)
    windows = [Windows(entity) for entity in plan.entities]
    decider, cooldown = Decider(rules, plan.name, None, Thresholds(1, 1)), Cooldown()
    verdicts, alerts = {}, []
    for start in range(0, len(history), 700):
        batch = [row.transaction for row in history[start : start + 700]]
        rows = [first + second for first, second in zip(*(window.update(batch) for window in windows), strict=True)]
        suspicious = decider.decide(batch, rows, 0).suspicious
        verdicts |= {decision.transaction.transaction_id: decision.verdict for decision in suspicious}
        alerts += [alert.decision.transaction.transaction_id for alert in cooldown.apply(suspicious)]
    ids = columns(history).ids
    assert {ids[row]: VERDICTS[trial.verdicts[row]] for row in trial.verdicts.nonzero()[0]} == verdicts
    assert [ids[row] for row in trial.alerts] == alerts
    assert len(alerts) < len(verdicts)


def backtest(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fraudflow", "rules", "backtest", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_command_writes_a_table_json_and_a_page(tmp_path):
    other = tmp_path / "<other>.toml"
    other.write_text('[[rule]]\nid = "emptied"\nwhen = "amount == old_balance and amount > 0"\ndecision = "block"\n')
    done = backtest(EXCERPT, "--rules", other, "--against", "rules.toml", "--output", tmp_path / "out")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "19,999 transactions over 0.3 days, 81 of them frauds" in done.stdout
    assert "allow → block" in done.stdout
    assert "…" not in done.stdout.partition("decisions that change")[0].partition("large_transfer")[2]
    found = json.loads((tmp_path / "out" / "backtest.json").read_text())
    assert found["rules"]["by_rule"][0]["id"] == "emptied"
    assert found["rules"]["by_rule"][0]["precision"] > 0.9
    assert found["against"]["by_rule"][2]["id"] == "large_transfer"
    again = backtest(EXCERPT, "--rules", other, "--against", "rules.toml", "--output", tmp_path / "again")
    assert again.returncode == 0
    first, second = (tmp_path / folder / "backtest.json" for folder in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()
    page = (tmp_path / "out" / "backtest.html").read_text()
    assert "{{" not in page.split("<script>")[0]
    assert "&lt;other&gt;.toml" in page
    assert page.count("plotly-graph-div") == 3  # one rule hits, so there is no overlap to draw
    assert "Decisions that change" in page


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1]", "line 1: [1] has no `list` and `value`: wanted"),
        ('{"list": "a"}', "has no `list` and `value`: wanted"),
        ("x", "line 1: unexpected character, expected a JSON value"),
        ('{"list": "a b", "value": "x"}', "line 1: the key is 'a b/x': wanted list/value"),
        ('{"list": "a", "value": "x", "expires_at": "soon"}', "`expires_at`: 'soon' is not a time"),
    ],
)
def test_a_bad_entry_is_told_with_its_line(line, said, tmp_path):
    path = tmp_path / "lists.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ValueError, match=re.escape(said)):
        _entries(path)


def test_lists_come_from_a_file(tmp_path):
    history, entries, rules = tmp_path / "h.csv", tmp_path / "lists.jsonl", tmp_path / "r.toml"
    with history.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["userId", "amount", "timestamp"])
        rows.writerows(["u", 1, f"2026-01-0{day}T00:00:00Z"] for day in (1, 2, 3))
    entries.write_text('{"list": "blocked", "value": "u", "expires_at": "2026-01-03T00:00:00Z"}\n\n')
    rules.write_text("[[rule]]\nid = 'blocked'\nwhen = 'user_id in list(\"blocked\")'\n")
    done = backtest(history, "--rules", rules, "--lists", entries, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "backtest.json").read_text())["rules"]["by_rule"][0]["hits"] == 2
    entries.write_text('{"list": "blocked"}\n')
    done = backtest(history, "--rules", rules, "--lists", entries, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "lists.jsonl: line 1" in done.stderr.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.csv",), "No such file"),
        (("rules.toml",), "not a kind of file that is read here"),
        ((EXCERPT, "--rules", "nowhere.toml"), "nowhere.toml: No such file"),
        ((EXCERPT, "--lists", "nowhere.jsonl"), "nowhere.jsonl: No such file"),
    ],
)
def test_what_can_not_be_read_is_told_without_a_traceback(arguments, said, tmp_path):
    done = backtest(*arguments, "--output", tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("place", ["/proc/x", "README.md", "README.md/x"])
def test_an_output_that_can_not_be_written_is_refused_before_the_work(place):
    done = backtest(EXCERPT, "--output", place)
    assert done.returncode == 1
    assert f"--output {place}: can't be written" in done.stderr
    assert done.stderr.count("\n") == 1


def test_money_is_short():
    assert [money(amount) for amount in (0, 999.6, 12_345, 1_234_567, 2.5e9)] == [
        "0",
        "1,000",
        "12,345",
        "1.2 M",
        "2.5 bn",
    ]


def test_labels_and_derived_fields_count_as_in_the_flow_and_two_sets_may_define_one_name_otherwise() -> None:
    def text(least: int) -> str:
        field = f'[[field]]\nname = "dear"\nvalue = "amount > {least}"\n'
        return field + '[[rule]]\nid = "r"\nwhen = "fraud_count_dear_1d > 0 or sum_dear_1h > 1"\n'

    history = [
        Labelled(transaction("ann", 0, 60.0), True),
        Labelled(transaction("ann", HOUR, 1.0), False),  # the label has not arrived yet
        Labelled(transaction("ann", 2 * HOUR + 1, 1.0), None),
        Labelled(transaction("bob", 3 * HOUR, 60.0), False),
        Labelled(transaction("bob", 3 * HOUR + 1, 70.0), None),
    ]
    for sets, rows in [((50,), [[2, 4]]), ((50, 65), [[2, 4], []]), ((65, 50), [[], [2, 4]])]:
        trials = run(history, [parse_rules(text(least)) for least in sets], [], HOUR, label_delay=2 * HOUR)
        assert [trial.rows[0].tolist() for trial in trials] == rows
