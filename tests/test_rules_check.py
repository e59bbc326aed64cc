"""`fraudflow rules check`: errors with their places, examples, what can be proved, and what rules need."""

import ast
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudflow.rules.footprint import footprint
from operators.expressions import parse
from operators.features.fields import FieldError, Fields, FieldSpec
from operators.features.passes import check_passes
from operators.features.plan import Plan
from operators.places import Place, tables_of
from operators.rules import RuleError, load_rules, parse_rules
from operators.rules.checking import check_rules, known_name
from operators.rules.examples import run_examples
from operators.rules.lint import Prover, lint
from operators.rules.unused import unused_part
from operators.transactions.formats import Limits
from tests.records import HOUR, NOON, transaction

ROOT = Path(__file__).parent.parent


def run_check(path, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "fraudflow", "rules", "check", str(path), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rules_of(*conditions, **fields):
    extra = "".join(f"{name} = {value!r}\n" for name, value in fields.items())
    tables = (f"[[rule]]\nid = 'r{n}'\nwhen = '''{when}'''\n{extra}" for n, when in enumerate(conditions))
    return list(parse_rules("".join(tables)).rules)


# Places


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[rule]]\nid = 'a'\nwhen = 'amont > 1'", (3, 9)),
        ("# c\n\n[[rule]]\n  when   =   \"amount > 1 and amont > 2\"  # why\nid = 'a'", (4, 30)),
        ("[[rule]]\nid = 'a'\nwhen = '''amont > 1'''", (3, 11)),
        ("[[rule]]\nid = 'a'\nwhen = '''\namount > 1 and\n  amont > 2'''", (5, 3)),
        ('[[rule]]\nid = "a"\nwhen = """amount > 1\n or amont > 2"""', (4, 5)),
        ("[[rule]]\nid = 'b'\nwhen = 'amount > 1'\n[[rule]]\nid = 'a'\nwhen = 'amont > 1'", (6, 9)),
        # What looks like a rule inside a text or behind brackets is none.
        ("[[rule]]\nid = 'a'\nmessage = '''\n[[rule]]\nwhen = 'x'\n'''\nwhen = 'amont > 1'", (7, 9)),
        ("[[rule]]\nid = 'a'\n[[rule.examples]]\nfires = true\ntransaction = { when = 'x' }\n[[rule]]\nid = 'b'\n"
         "when = 'amont > 1'", (8, 9)),
        # An escape makes the column unsure: the value's own.
        ('[[rule]]\nid = "a"\nwhen = "country == \\"FR\\" and amont > 1"', (3, 8)),
    ],
)  # fmt: skip
def test_an_unknown_name_is_told_with_its_place_in_the_file(text, place):
    (problem,) = [found for found in check_rules(text).problems if "amont" in found.message]
    assert problem.place == place
    assert "unknown name 'amont'; nearest known: amount" in problem.message


def test_an_example_table_before_when_is_not_the_rules_own():
    text = "[[rule]]\nid = 'a'\nwhen = 'amount > 1'\n[[rule.examples]]\nfires = true\ntransaction = { userId = 'u' }\n"
    _, table, _ = tables_of(text)
    assert set(table.fields) == {"id", "when"}
    assert table.of("when") == Place(3, 8)
    assert table.of("cooldown") == Place(1, 1)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("[[rule", (1, 7), "not TOML"),
        ("[[rule]]\nid =", (2, 5), "not TOML: Invalid value"),
        ("[[rules]]\nid = 'a'", (1, 1), "unknown table 'rules': wanted [[rule]]"),
        ("x = 1\nrule = 'y'", (1, 1), "unknown table 'x'"),
        ("rule = 'y'", (1, 1), "wanted [[rule]], one for each rule"),
        ("[rule]\nid = 'a'", (1, 1), "wanted [[rule]]"),
        ("\n[[rule]]\nid = 'a'", (2, 1), "`when` is missing"),
        (
            "[[rule]]\nid = 'a'\nwhen = 'amount > 1'\nseverity = 'huge'",
            (4, 12),
            "severity is 'huge': wanted one of low, medium, high, critical",
        ),
        ("[[rule]]\nid = 'a'\nwhen = 'amount > 1'\nseverty = 'high'", (4, 11), "wanted one of severity"),
        ("[[rule]]\nid = 'a'\nwhen = 'amount > 1'\ncooldown = 'soon'", (4, 12), "is not a duration"),
        ("[[rule]]\nid = 'a'\nwhen = 'amount > 1'\nmessage = '{amont}'", (4, 11), "message: unknown name 'amont'"),
        ("[[rule]]\nid = 'a b'\nwhen = 'amount > 1'", (2, 6), "rule id 'a b'"),
        ("[[rule]]\nid = 'a'\nwhen = 'amount >'", (3, 17), "not an expression"),
        ("[[rule]]\nid = 'a'\nwhen = 'amount'", (3, 9), "a condition is wanted"),
        ("[[rule]]\nid = 'a'\nwhen = 'amount > 1'\n[[rule.examples]]\nfires = true", (1, 1), "wanted either"),
        ("rule = [{ id = 'a', when = 'amount >' }]", (1, 1), "not an expression"),
        (
            "[[rule]]\nid='a'\nwhen='amount>1'\n[[rule]]\nid='a'\nwhen='amount>2'",
            (5, 4),
            "more than one rule has the id",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, place, said):
    (problem,) = check_rules(text).problems
    assert problem.place == place
    assert said in problem.message
    problem.shown("rules.toml", text)


def test_every_wrong_rule_is_told_as_compilers_do():
    text = "[[rule]]\nid = 'a'\nwhen = 'amont > 1'\n[[rule]]\nid = 'b'\nwhen = 'amount > 1'\n[[rule]]\n\tid = 7\n"
    checked = check_rules(text)
    assert [rule.id for rule in checked.rules] == ["b"]
    assert [problem.shown("r.toml", text) for problem in checked.problems] == [
        "r.toml:3:9: rule 'a': when: unknown name 'amont'; nearest known: amount\n"
        "    3 | when = 'amont > 1'\n"
        "      |         ^",
        "r.toml:8:7: rule 7: id is 7: wanted a text\n    8 |     id = 7\n      |          ^",
    ]


@given(st.text(alphabet="[]rule='\"#\\\n whenid{},.x1>", max_size=60))
@settings(max_examples=300)
def test_any_text_is_checked_without_failing(text):
    for problem in check_rules(f"[[rule]]\nid = 'a'\nwhen = 'amount > 1'\n{text}").problems:
        assert problem.place.line >= 1
        problem.shown("rules.toml", text)


# Examples


def example_failures(rule, **limits):
    (found,) = check_rules(rule).rules
    return [failure.message for failure in run_examples(found, HOUR, Limits(**limits))]


RULE = "[[rule]]\nid = 'a'\nwhen = 'count_1m > 1 and user_id not in list(\"trusted\")'\n"


def test_examples_go_through_decoding_windows_and_lists():
    holds = """
[[rule.examples]]
transactions = [{ userId = "u", amount = 1 }, { userId = "u", amount = 1 }]
fires = true
[[rule.examples]]
transactions = [{ userId = "u", amount = 1 }, { userId = "u", amount = 1 }]
lists = { trusted = ["v", "u"] }
fires = false
[[rule.examples]]
transactions = [{ userId = "v", amount = 1 }, { userId = "u", amount = 1 }]
fires = false
[[rule.examples]]   # a minute apart, in two ways to write a time
transactions = [
  { userId = "u", amount = 1, timestamp = 2024-12-04T15:00:00Z },
  { userId = "u", amount = 1, timestamp = "2024-12-04T15:01:00Z" },
]
fires = false
"""
    assert example_failures(RULE + holds) == []


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ('transaction = { userId = "u", amount = 1 }\nfires = true', "it does not fire, with count_1m 1, user_id 'u'"),
        (
            'transactions = [{ userId = "u", amount = 1 }, { userId = "u", amount = 1 }]\nfires = false',
            "it fires, with",
        ),
        ('transaction = { user = "u" }\nfires = true', "a transaction that the flow would not take: none of"),
        ('transaction = { userId = "u", amount = -1 }\nfires = true', "would not take: `amount` is -1.0"),
        (
            'transaction = { userId = "u", amount = 1 }\nlists = { trustd = [] }\nfires = false',
            "names the list 'trustd'",
        ),
    ],
)
def test_an_example_that_does_not_hold_is_told_with_the_evidence(example, said):
    (failure,) = example_failures(f"{RULE}[[rule.examples]]\n{example}\n")
    assert said in failure


def test_a_paysim_example_has_its_time_in_its_step():
    rule = "[[rule]]\nid = 'a'\nwhen = 'count_2h > 1'\n[[rule.examples]]\nfires = {fires}\ntransactions = ["
    rule += '{{ step = 1, amount = 1, nameOrig = "C1" }}, {{ step = {step}, amount = 1, nameOrig = "C1" }}]\n'
    assert example_failures(rule.format(fires="true", step=2)) == []
    assert example_failures(rule.format(fires="false", step=3)) == []


# Lint


@pytest.mark.parametrize(
    "when",
    [
        "amount > 5 and amount < 3",
        "amount > 5 and amount <= 5",
        "5 < amount < 5",
        "amount < 0",
        "not amount >= 0",
        "count_1m > 3 and count_1m < 4",
        "count_1m < 1",
        "hour_of_day > 23",
        "hour_of_day >= 0 and hour_of_day in (24, 25)",
        "distinct_location_5m == 2.5",
        'format == "crad"',
        'format == "card" and format == "simple"',
        'country in ("FR", "DE") and country not in ("DE", "FR")',
        'country == "FR" and missing(country)',
        "missing(amount)",
        "is_night and not is_night",
        "amount / count_1m > 5 and not amount / count_1m > 5",
        'user_id in list("a") and amount < -1',
        "not (amount > 1 or amount <= 1)",
        "False",
        "hour_of_day != 0 and hour_of_day < 1",
    ],
)
def test_what_is_never_true_is_told(when):
    assert [warned.message for warned in lint(rules_of(when))] == ["is never true"]


@pytest.mark.parametrize(
    "when",
    [
        "amount >= 0",
        "count_1m > 0",
        "amount > 5 or amount <= 5",
        'format in ("card", "simple", "paysim")',
        'country == "FR" or country != "FR" or missing(country)',
        "hour_of_day <= 23",
        "not is_night or is_night",
        "True",
    ],
)
def test_what_is_always_true_is_told(when):
    assert [warned.message for warned in lint(rules_of(when))] == ["is always true"]


@pytest.mark.parametrize(
    "when",
    [
        "amount > 5",
        "amount > 5 and amount < 6",
        "mean_amount_1h_before > 5 or mean_amount_1h_before <= 5",  # may be missing
        'country == "FR" or country != "FR"',
        "count_1m_before < 1",
        'user_id in list("a") and user_id not in list("b")',
        "amount > count_1m and amount < count_1m",  # beyond what is looked into: no claim
        "amount > 9007199254740993 and amount <= 9007199254740993",
        " or ".join(f"(amount > {n} and count_1m > {n})" for n in range(1, 40)),
    ],
)
def test_nothing_is_claimed_of_what_may_be(when):
    assert lint(rules_of(when)) == []


def warned(*conditions, **fields):
    return [(warning.rule, warning.message.split(":")[0]) for warning in lint(rules_of(*conditions, **fields))]


def test_a_rule_that_another_one_implies_is_told():
    assert warned("amount > 1_000", "amount > 100") == [("r0", "is implied by 'r1'")]
    assert warned('country == "FR" and count_1m > 3', 'country in ("FR", "DE")') == [("r0", "is implied by 'r1'")]
    assert warned("count_1m > 3", "count_1m >= 4") == [("r1", "says the same as 'r0', which is no less severe")]
    assert warned("count_1m > 3 or is_night", "amount > 3", "count_1m > 2 or is_night") == [
        ("r0", "is implied by 'r2'")
    ]
    assert warned("amount > 1_000", "amount < 100") == []
    assert warned('country != "FR"', 'not country == "FR"') == [("r0", "is implied by 'r1'")]


def test_a_more_severe_rule_is_not_implied_by_a_milder_one():
    mild = "[[rule]]\nid = 'mild'\nwhen = 'amount > 1'\n"
    hard = "[[rule]]\nid = 'hard'\nwhen = 'amount > 2'\n"
    for field in ("severity = 'critical'", "decision = 'block'"):
        assert lint(list(parse_rules(f"{mild}{hard}{field}\n").rules)) == []
    assert lint(list(parse_rules(f"{mild}mode = 'shadow'\n{hard}").rules)) == []
    assert lint(list(parse_rules(f"{mild}cooldown = '1h'\n{hard}").rules)) == []


def test_a_cooldown_of_a_shadow_rule_is_told():
    (warning,) = lint(rules_of("amount > 1", mode="shadow", cooldown="1h"))
    assert "a shadow rule has no use for" in warning.message


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("amount > 5 and amount > 3", "amount > 3"),
        ("amount > 5 or amount > 3", "amount > 5"),
        ("is_night and is_night", "is_night"),
        ('not (country == "FR" or country in ("FR", "DE")) and amount > 3', "country == 'FR'"),
        ('country == "IT" and not missing(country)', "not missing(country)"),
        ("amount > 3 and count_1h >= 1", "count_1h >= 1"),
        ("amount / old_balance > 3 and is_night and amount / old_balance > 3", "amount / old_balance > 3"),
        ("amount > 3 and count_1h >= 2", ""),
        ('country != "IT" and not missing(old_balance)', ""),
        ("amount / old_balance > 3 and not missing(old_balance)", ""),  # true, and not looked into
        ("amount > 3", ""),
    ],
)
def test_a_part_that_changes_nothing_is_told(when, part):
    warned = [warned.message for warned in lint(rules_of(when))]
    assert warned == ([f"says the same without `{part}`"] if part else [])


NUMBERS = ("amount", "count_1m", "hour_of_day", "mean_amount_1h_before", "old_balance")
ATOMS = st.one_of(
    st.tuples(
        st.sampled_from(NUMBERS),
        st.sampled_from(("<", "<=", ">", ">=", "==", "!=")),
        st.sampled_from((-1, 0, 1, 1.5, 2, 3, 23)),
    ).map(lambda atom: f"{atom[0]} {atom[1]} {atom[2]}"),
    st.sampled_from(('country == "FR"', 'country in ("FR", "DE")', 'country not in ("FR",)', "missing(country)")),
    st.sampled_from(("is_night", "missing(old_balance)", "amount > count_1m", 'format != "card"', "0 < amount <= 2")),
    st.sampled_from(
        ('user_id in list("a")', 'country not in list("a")', "hour_of_day in (0, 23)", "is_new_country_1h")
    ),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: "(" + " and ".join(some) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: "(" + " or ".join(some) + ")"),
    ),
    max_leaves=6,
)
COLUMNS = ("count_1m", "mean_amount_1h_before", "is_new_country_1h")
SAMPLE_PLAN = Plan.of(COLUMNS, allowed_lateness=0)


def samples(count=300):
    chance = random.Random(3)
    for _ in range(count):
        columns = {
            "count_1m": chance.choice((1, 2, 3, 4)),
            "mean_amount_1h_before": chance.choice((None, 0, 1, 1.5, 2, 50)),
            "is_new_country_1h": chance.choice((None, True, False)),
        }
        made = transaction(
            chance.choice(("u1", "u2")),
            at=chance.choice((0, 11 * HOUR, -12 * HOUR, HOUR)),
            amount=float(chance.choice((0, 1, 1.5, 2, 3, 100))),
            format=chance.choice(("card", "simple", "paysim")),
            country=chance.choice((None, "FR", "DE", "IT")),
            old_balance=chance.choice((None, -1.0, 0.0, 1.5, 3.0)),
        )
        yield made, tuple(columns[name] for name in SAMPLE_PLAN.columns)


SAMPLES = list(samples())


def fires(rule):
    lists = {"a": {"u1": 2**62, "FR": NOON}}
    compiled = parse_rules(f"[[rule]]\nid = 'x'\nwhen = '''{rule.when}'''").compile(SAMPLE_PLAN.name, lists)
    hits = compiled.evaluate([made for made, _ in SAMPLES], [row for _, row in SAMPLES])
    return {index for index, _ in hits}


@given(CONDITIONS, CONDITIONS)
@settings(max_examples=400, deadline=None)
def test_no_claim_is_ever_contradicted_by_a_transaction(one, other):
    first, second = rules_of(one, other)
    prover = Prover(known_name)
    if prover.never(first):
        assert not fires(first)
    if prover.always(first):
        assert len(fires(first)) == len(SAMPLES)
    if prover.implies(first, second):
        assert fires(first) <= fires(second)


@given(CONDITIONS)
@settings(max_examples=200, deadline=None)
def test_a_part_that_is_called_unused_is(condition):
    (rule,) = rules_of(condition)
    kept = parse(rule.when).tree
    before = ast.dump(kept)
    claims = []

    def implies(one, other):
        proved = Prover(known_name).implies(one, other)
        claims.append((one, other, proved))
        return proved

    if unused_part(rule, implies):
        (shorter, same, _) = claims[-1]
        assert same == rule
        assert len(shorter.when) < len(ast.unparse(kept)) + 2
        assert fires(shorter) == fires(rule)
    assert ast.dump(parse(rule.when).tree) == before


# The command


def test_the_shipped_rules_are_right():
    done = run_check(ROOT / "rules.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"windows by user: count_1m, .*; about [\d,]+ bytes of memory a user with 10 events", done.stdout)
    assert re.search(r"7 rules, \d+ examples, no error", done.stdout)
    assert all(rule.examples for rule in load_rules(ROOT / "rules.toml").rules if rule.id != "busy_minute")


def test_errors_failed_examples_and_warnings_are_told_and_the_exit_code_is_1(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[[rule]]\nid = 'a'\nwhen = 'amont > 1'\n"
        "[[rule]]\nid = 'b'\nwhen = 'amount > 1'\n"
        "[[rule.examples]]\ntransaction = { userId = 'u', amount = 1 }\nfires = true\n"
        "[[rule]]\nid = 'c'\nwhen = 'amount < 0'\n"
    )
    done = run_check(path)
    assert done.returncode == 1
    assert f"{path}:3:9: rule 'a': when: unknown name 'amont'" in done.stderr
    assert f"{path}: rule 'b': example 1 does not hold: it does not fire, with amount 1.0" in done.stderr
    assert f"{path}: warning: rule 'c' is never true" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_warning_alone_is_no_error(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[[rule]]\nid = 'c'\nwhen = 'amount < 0'\n")
    done = run_check(path)
    assert (done.returncode, "is never true" in done.stderr) == (0, True)
    assert "windows: none" in done.stdout


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"\xff", "not a text file")])
def test_a_file_that_can_not_be_read_is_told(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    done = run_check(path)
    assert done.returncode == 1
    assert said in done.stderr


FIELDS = """
[[field]]
name = "unusual"
value = "amount > 2.5 * mean_amount_30d_before"
[[field]]
name = "idle"
value = "amount > 1"
[[rule]]
id = "often"
when = "sum_unusual_7d > 0"
[[rule.examples]]
transactions = [{ userId = "u", amount = 10 }, { userId = "u", amount = 26 }]
fires = true
[[rule.examples]]
transactions = [{ userId = "u", amount = 10 }, { userId = "u", amount = 25 }]
fires = false
"""


def test_derived_fields_are_checked_and_used_in_examples_and_told_where_nothing_uses_them(tmp_path):
    (tmp_path / "rules.toml").write_text(FIELDS)
    done = run_check(tmp_path / "rules.toml")
    assert done.returncode == 0, done.stderr
    assert "field 'idle' is used by no rule, and not by the model" in done.stderr
    assert "'unusual'" not in done.stderr
    assert "windows by user: mean_amount_30d_before, sum_unusual_7d, unusual;" in done.stdout


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        (
            "[[field]]\nname = 'a'\nvalue = 'amont > 1'",
            (3, 10),
            "field 'a': unknown name 'amont'; nearest known: amount",
        ),
        ("[[field]]\nname = 'B'\nvalue = 'amount > 1'", (2, 8), "field name 'B': wanted a small letter"),
        ("[[field]]\nname = 'a'", (1, 1), "field 'a': wanted `value`, a text such as"),
        ("[[field]]\nname = 'a'\nwhen = '1 > 2'", (3, 8), "field 'a': unknown field 'when'; wanted `name` and `value`"),
        ("[[field]]\nname = 'a'\nvalue = 'sum_a_1h > 2'", (3, 9), "field 'a' stands in a circle, a → a"),
        (
            "[[field]]\nname = 'a'\nvalue = 'sum_a_1h_before > sum_a_1h_before_by_merchant'",
            (3, 9),
            "field 'a' stands in a circle through the windows of merchant and user",
        ),
        (
            "[[field]]\nname = 'a'\nvalue = '1'\n[[field]]\nname = 'a'\nvalue = '2'",
            (5, 8),
            "more than one field has the",
        ),
        ("[[field]]\nname = 'model'\nvalue = '2'", (3, 9), "field 'model' has two values, '1' and '2': wanted one"),
    ],
)
def test_a_wrong_field_is_told_with_its_place(table, place, message):
    rule = "[[rule]]\nid = 'fine'\nwhen = 'amount > 1 and model > 2'\n"
    checked = check_rules(f"{table}\n{rule}", [FieldSpec("model", "1")])
    (problem,) = [problem for problem in checked.problems if not problem.message.startswith("rule")]
    assert (problem.place, problem.message.startswith(message)) == (Place(*place), True), problem
    with pytest.raises((RuleError, FieldError)):
        check_passes(Fields([FieldSpec("model", "1"), *parse_rules(table).fields]))


def test_the_footprint_grows_with_what_is_kept():
    few = footprint(Plan.of(("count_1m",), allowed_lateness=HOUR).entities[0])
    many = footprint(
        Plan.of(("count_1m", "distinct_location_1h", "std_old_balance_1h"), allowed_lateness=HOUR).entities[0]
    )
    other = footprint(Plan.of(("count_1h_by_merchant",), allowed_lateness=HOUR).entities[0])
    assert 50 < few.snapshot < few.memory < 1_000
    assert few.snapshot < many.snapshot
    assert other.memory > 50


def test_a_file_without_a_rule_is_warned_of(tmp_path):
    (tmp_path / "rules.toml").write_text("# nothing yet\n")
    done = run_check(tmp_path / "rules.toml")
    assert done.returncode == 0
    assert "warning: there is no rule in it" in done.stderr


def test_the_flow_tells_all_that_is_wrong_as_the_check_does(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        "[[rule]]\nid = 'a'\nwhen = 'amont > 1'\n\n[[rule]]\nid = 'b'\nwhen = 'amount > 1'\nmode = 'shade'\n"
    )
    with pytest.raises(RuleError) as refused:
        load_rules(path)
    assert str(refused.value) == (
        f"{path}:3:9: rule 'a': when: unknown name 'amont'; nearest known: amount\n"
        "    3 | when = 'amont > 1'\n"
        "      |         ^\n"
        f"{path}:8:8: rule 'b': mode is 'shade': wanted one of active, shadow; nearest: shadow\n"
        "    8 | mode = 'shade'\n"
        "      |        ^"
    )


@pytest.mark.parametrize("text", ["x = " + "9" * 5_000, "x = " + "[" * 5_000])
def test_what_toml_can_not_hold_is_told(text: str) -> None:
    (problem,) = check_rules(text).problems
    assert (problem.place, problem.message[:8]) == (Place(1, 1), "not TOML")


def test_a_file_of_another_editor_is_read_as_it_is(tmp_path: Path) -> None:
    """With a byte order mark, lines that end as on Windows, and the place of an error in them."""
    path = tmp_path / "rules.toml"
    path.write_bytes(b"\xef\xbb\xbf[[rule]]\r\nid = 'a'\r\nwhen = '''\r\n  amount > 1\r\n  and amount > 2'''\r\n")
    assert [rule.id for rule in load_rules(path).rules] == ["a"]
    path.write_bytes(path.read_bytes().replace(b"and amount", b"and amont"))
    with pytest.raises(RuleError, match=r":5:7: rule 'a': when: unknown name 'amont'"):
        load_rules(path)
