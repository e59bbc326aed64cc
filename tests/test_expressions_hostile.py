"""Attacks: what is known against sandboxes of `eval`, and what an expression could cost or stop."""

import math
import os

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.expressions import GLOBALS, ExpressionError, Name, compile_condition, compile_source, parse
from operators.features.plan import Plan
from operators.model.encoding import Encoder
from operators.model.specification import parse_model
from operators.rules import Rule, RuleSet, render
from tests.records import transaction
from tests.test_expressions import LISTS, AtOneSecond, namespace

HOSTILE = [
    "country in _lists['trusted']",
    "_lists",
    "_list0",
    "_list0('FR', 0) > 1",
    "country in list('trusted') or _lists.clear()",
    "country in list(__import__('os').name)",
    "country in list('trusted').__class__",
    "[country in list('trusted') for country in (1,)]",
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "amount.__class__",
    "(lambda: amount)()",
    "[x for x in (1,)]",
    "{k: 1 for k in (1,)}",
    "f'{amount}'",
    "open('/etc/passwd')",
    "eval('1')",
    "exec('1')",
    "getattr(amount, 'real')",
    "(amount := 3)",
    "abs(*(1, 2))",
    "abs(x=1)",
    "abs.__globals__",
    "amount if fresh else mean",
    "amount[0]",
    "b'x' == kind",
    "1j",
    "...",
    "None",
    "amount is None",
    "amount << 99999999",
    "9**9**9**9",
    "'a' * 1000000000",
    "await amount",
    "yield",
    "globals()",
    "__builtins__",
    "type(amount)",
    "missing.__self__",
    "not " * 500 + "fresh",
    "-" * 1000 + "1",
    "(" * 250 + "1" + ")" * 250,
    "amount > 1 and " * 200 + "fresh",
    "amount\x00",
    "amount > 1) or (fresh",
    "amount; fresh",
    "amount\nimport os",
    "ａｍｏｕｎｔ.real",
    "ａｍｏｕｎｔ > 1",
    "ｅｖａｌ('1')",
    "ｌist('trusted')",
    "ｍissing(mean)",
    "amount > ١",
    "amount.__class__.__mro__[-1]",
    "'{0.__class__}'.format(amount)",
    "'%s' % kind",
    "f'{amount.__class__}' == kind",
    "f'{amount!r:{mean}}'",
    "kind + kind",
    "kind * 9",
    "(x for x in (1,))",
    "[*(1, 2)]",
    "amount in (*(1, 2),)",
    "amount in ((1, 2), 3)",
    "amount in [[1]]",
    "amount in {1, 2}",
    "amount in range(10)",
    "amount in (amount, 1)",
    "amount == 1e999",
    "amount == 1e19",
    "amount == 10000000000000000000",
    "amount == " + "9" * 1_900,
    "amount == 0x" + "f" * 1_900,
    "amount @ amount",
    "amount // 2",
    "amount & 1",
    "~amount",
    "amount is mean",
    "print('x')",
    "breakpoint()",
    "help()",
    "vars()",
    "dir()",
    "missing(__builtins__)",
    "__loader__",
    "__doc__ == kind",
    "__debug__",
    "True.real",
    "(1).__class__",
    "1 .__class__",
    "''.join(())",
    "_add(1, 2) > 1",
    "_v1",
    "t.event_time",
    "f[0]",
    "t",
    "f",
    "hits",
    "amount if True else __import__('os')",
    "not (yield)",
    "lambda: (yield)",
    "async (amount)",
    "amount > 1 #\n or __import__('os')",
    "amount > 1\\\nimport os",
    "amount > 1\r\nimport os",
    "amount > 1\x0cimport os",
    "amount > 1\u2028import os",
    "'\\N{nope}' == kind",
    "'a\nb' == kind\nimport os",
    "'''\nimport os\n''' == kind; amount",
    "kind == 'a' if 1 else 2",
    "global x",
    "del amount",
    "assert amount",
    "amount = 1",
    "amount: int",
    "pass",
    "amount,",
    "amount, mean",
    "*amount",
    "**amount",
    "abs(**{})",
    "abs(amount for amount in (1,))",
    "abs(amount)(1)",
    "abs",
    "min",
    "log(amount)(2)",
    "list('trusted')()",
    "country in list('trusted').keys()",
    "country in list(list('trusted'))",
    "country in list(f'trusted')",
    "country in list('trus' + 'ted')",
    "x" * 2_001,
    "amount > 1 or " * 150 + "fresh",
    "a" * 1_900,
    "count_" + "1" * 1_900 + "m > 1",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_expressions_are_refused(source):
    with pytest.raises(ExpressionError) as refused:
        compile_condition(parse(source), namespace, lists=[])
    assert len(str(refused.value)) + len(refused.value.caret()) < 1_000  # an attack is not repeated at length


WORDS = [
    "amount", "mean", "country", "kind", "fresh", "1", "0", "1e18", "1e999", "0x7f", "1_0", "'a'", '"{0}"',
    "f'{amount}'", "b'a'", "None", "True", "abs", "round", "log", "min", "missing", "list", "list('trusted')",
    "__class__", "__import__", "and", "or", "not", "in", "is", "if", "else", "lambda", "for", "await", "(", ")",
    "[", "]", "{", "}", ",", ":", ":=", "=", "==", "!=", "<", "<=", "+", "-", "*", "**", "/", "//", "%", "@", "~",
    ".", "\\", "#", ";", "\n", "\x00",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words_are_refused_or_judge_any_transaction(source):
    """What is accepted runs, and no transaction stops it."""
    try:
        code = compile_condition(parse(source), namespace, lists=["trusted"])
    except ExpressionError:
        return
    scope = {**GLOBALS, "_list0": LISTS["trusted"].get}
    exec(f"def fires(t, f):\n    if {code}: return True\n    return False", scope)  # noqa: S102 - as a rule set has it
    for number, other in ((0.0, None), (-1e308, 1e308), (1e9, 0.0), (2**53, -(2**53))):
        for text in ("FR", None):
            assert scope["fires"](AtOneSecond, (number, other, text, "card", None)) in (True, False)


LATEST = 253_402_300_799_999
"""The largest whole number that a transaction has: the last millisecond of the year 9999."""
FACTORS = st.sampled_from(
    ["time", "1000000000000000000", "round(time)", "1e18", "(time + 1000000000000000000)", "-time"]
)


def combined(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%*"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["abs", "sqrt", "log", "round"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
    )


def whole(source, time):
    """The value where the names are whole numbers, as counts and times are."""
    code = compile_source(parse(source), lambda name: Name(name, "number", False)).code
    return eval(code, dict(GLOBALS), {"time": time})


@given(st.recursive(FACTORS, combined, max_leaves=40), st.sampled_from([0, 1, LATEST]))
def test_no_calculation_leaves_the_numbers(source, time):
    found = whole(source, time)
    assert found is None or isinstance(float(found), float)


@pytest.mark.parametrize("factor", ["time", "1000000000000000000", "round(time)"])
@pytest.mark.parametrize("rest", ["/ 3", "% 2.5", "* 0.5", "+ 0.5"])
def test_a_product_of_any_length_is_a_number(factor, rest):
    """Python's whole numbers have no end, its floats have: dividing such a product would stop the flow."""
    product = " * ".join([factor] * 36)
    found = whole(f"({product}) {rest}", LATEST)
    assert found >= 0 or math.isnan(found)


TEXTS = [
    "x'] = 1; __import__('os').environ.update(ATTACKED='1') #",
    "x\"] = 1; __import__('os').environ.update(ATTACKED='1') #",
    "\n    __import__('os').environ.update(ATTACKED='1')\n",
    "{0.__class__}{__import__('os').environ.update(ATTACKED='1')}",
    "%(x)s %s \\",
    "\\' + __import__('os').environ.update(ATTACKED='1') + \\'",
    "\u2028__import__('os')",
    'it\'s "both"',
    "\ud7ff\uffff\U0001f600",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_data_wherever_they_stand(text):
    """In generated code as names of features, values of one-hots, constants, messages; and in a message's braces."""
    condition = f"country == {text!r} or country in ({text!r}, 'b')"
    rules = RuleSet([Rule("x", condition, message=text)])
    plan = Plan.of(("country",), allowed_lateness=0)
    compiled = rules.compile(plan.name)
    found = transaction(country=text)
    assert compiled.evaluate([found, transaction(country="FR")], [(), ()]) == [(0, 0)]
    assert render(rules.rules[0].message, compiled.evidence(0, found, ())) == text
    quoted = orjson.dumps(text).decode()  # a string of TOML, too
    model = f"""
    name = "m"
    [[feature]]
    name = {quoted}
    value = "country"
    transform = "onehot"
    values = [{quoted}]
    missing = true
    """
    (encoded, other, missing) = Encoder(parse_model(model), plan).encode(
        [found, transaction(country="FR"), transaction()], [(), (), ()]
    )
    assert (encoded, other, missing) == (
        {f"{text} = {text}": 1.0}, {f"{text} = other": 1.0}, {f"{text} = missing": 1.0}
    )  # fmt: skip
    assert "ATTACKED" not in os.environ


def test_only_the_place_of_an_error_in_a_long_line_is_shown():
    with pytest.raises(ExpressionError) as refused:
        compile_source(parse("amount > 1 or " * 60 + "amont > 2 or " + "amount > 1 or " * 60 + "fresh"), namespace)
    line, caret = refused.value.caret().split("\n")
    assert len(line) < 170
    assert line[caret.index("^") :].startswith("amont > 2")
    assert (line[0], line[-1]) == ("…", "…")
