"""Rules and lists that change while the flow runs: what is taken, what is refused, and what a restart has."""

import pickle
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.exchange import ColumnsDiffer, Featured, columns_mark
from flows.logic import DecideLogic
from operators.decisions.decide import Decider, Thresholds
from operators.features.plan import Plan
from operators.model.scoring import TrainedOn, Weights
from operators.rules import ChangeReader, RuleError, RulesInForce, Start, parse_rules, start_of
from operators.rules.changes import FOREVER
from operators.rules.in_force import State
from operators.times import iso
from tests.records import DAY, NOON, Batch, transaction

DATA = Path(__file__).parent / "data"
RULES, LISTS = "fraud-rules", "fraud-lists"
BASE = """
[[rule]]
id = "big"
when = "amount > 100"
[[rule]]
id = "velocity"
when = 'count_1m > 3 and user_id not in list("trusted")'
"""
BASE_RULES = parse_rules(BASE)
PLAN = Plan.of(BASE_RULES.names, allowed_lateness=0)


def known(name):
    return Plan.of((name,), allowed_lateness=0).name(name)


def messages(*pairs, topic=RULES, start=0, partition=0):
    offsets = list(range(start, start + len(pairs)))
    keys = [key.encode() if isinstance(key, str) else key for key, _ in pairs]
    values = [value if value is None or isinstance(value, bytes) else orjson.dumps(value) for _, value in pairs]
    return Batch(topic, partition, offsets, [NOON + offset for offset in offsets], keys, values)


def entry(name, value, **fields):
    return f"{name}/{value}", {"list": name, "value": value, **fields}


READER = ChangeReader(PLAN.name, known, LISTS)


def read(*pairs, **options):
    return READER.read(messages(*pairs, **options))


def in_force(start=Start()):  # noqa: B008
    return RulesInForce(BASE_RULES, PLAN.name, start)


def ids(rules):
    return [(rule.id, rule.version) for rule in rules.compiled.rules]


def test_added_changed_and_removed_in_order():
    rules = in_force()
    rules.apply(read(("night", {"when": "is_night"}), ("big", {"id": "big", "version": 2, "when": "amount > 5"})))
    assert ids(rules) == [("big", 2), ("velocity", 1), ("night", 1)]
    rules.apply(read(("velocity", None), ("night", b"")))
    assert ids(rules) == [("big", 2)]
    rules.apply(read(("velocity", {"version": 3, "when": "count_1m > 9", "mode": "shadow"})))
    assert [(rule.id, rule.version, rule.mode) for rule in rules.compiled.rules] == [
        ("big", 2, "active"),
        ("velocity", 3, "shadow"),
    ]


def test_the_order_of_the_rules_does_not_depend_on_how_they_came():
    one, other = in_force(), in_force()
    one.apply(read(("b", {"when": "amount > 1"})))
    one.apply(read(("a", {"when": "amount > 2"})))
    other.apply(read(("a", {"when": "amount > 2"}), ("b", {"when": "amount > 1"})))
    assert ids(one) == ids(other) == [("big", 1), ("velocity", 1), ("a", 1), ("b", 1)]


REFUSED = [
    ("a", b"nonsense", "not JSON"),
    ("a", b"[1]", "a JSON list: wanted an object"),
    ("a", b'"x"', "a JSON str"),
    ("a", {"when": "amount > 1", "severty": "high"}, "severty is an unknown field: wanted one of severity"),
    ("a", {"version": 2}, "`when` is missing"),
    ("a", {"when": "amount > 1", "severity": "huge"}, "severity is 'huge': wanted one of low, medium, high, critical"),
    ("a", {"when": "amount > 1", "version": 0}, "version is 0: wanted a whole number from 1"),
    ("a", {"when": "amount > 1", "version": True}, "version is true: wanted a whole number"),
    ("a", {"when": 7}, "when is 7: wanted a text"),
    ("a", {"when": "amount >"}, "not an expression"),
    ("a", {"when": "amount.__class__ == 1"}, "an attribute is not allowed"),
    ("a", {"when": "amont > 1"}, "unknown name 'amont'; nearest known: amount"),
    ("a", {"when": "count_1x > 1"}, "unknown name 'count_1x'"),
    ("a", {"when": "amount"}, "a condition is wanted, this is a number"),
    ("a", {"when": "amount in list('x')"}, "lists hold texts, this is a number"),
    ("a", {"when": "amount > 1", "message": "{amont}"}, "message: unknown name 'amont'"),
    ("a", {"when": "amount > 1", "cooldown": "soon"}, "cooldown: 'soon' is not a duration"),
    ("a", {"id": "b", "when": "amount > 1"}, "the message's key is 'a', the rule's id 'b'"),
    ("a b", {"when": "amount > 1"}, "rule id 'a b'"),
    ("a b", None, "no rule is called that, so none is removed"),
    ("a" * 900, {"when": "amount > 1"}, "wanted a letter, then up to 63 letters"),
    ("", {"when": "amount > 1"}, "the message has no key"),
    (None, None, "the message has no key"),
    ("a", {"when": "amount > 1 and " * 200 + "true"}, "longer than 2000 characters"),
    ("a", b"[" * 100_000, "not JSON"),
    ("a", {"when": "amount > 1", "severity": "hihg"}, "low, medium, high, critical; nearest: high"),
    ("a", {"when": "amount > 1", "severity": "x" * 90_000}, "severity is 'xxx"),
    ("a", {"when": "amount > 1", "x" * 90_000: 1}, "is an unknown field"),
    ("a", {"when": "amount > 1", "version": 2**53}, "wanted a whole number from 1 to 9,007,199,254,740,991"),
    ("a", {"when": "amount > 1", "message": "{count_" + "1" * 5_000 + "m}"}, "message: longer than 1,000 characters"),
    ("a", {"when": "amount > 1", "message": "{count_" + "1" * 900 + "m}"}, "no name has more than 120 characters"),
    ("a", {"when": "amount > 1", "message": "{count_\u0661m}"}, "unknown name"),
    ("a", {"when": "amount > 1", "cooldown": "\u0661m"}, "is not a duration"),
    ("a", {"when": "amount > 1", "examples": [{"fires": 1}]}, "examples 1, fires is 1: wanted true or false"),
    (b"\xff" * 500, b"{}", "`when` is missing"),
]


@pytest.mark.parametrize(("key", "value", "said"), REFUSED)
def test_a_bad_rule_is_refused_with_one_event_and_the_old_one_stays(key, value, said):
    rules = in_force()
    rules.apply(read(("a", {"version": 5, "when": "amount > 7"})))
    changes = read((key, value), start=9)
    (event,) = changes.events
    assert (event.event, event.partition, event.offset, event.at) == ("rule_refused", 0, 9, NOON + 9)
    assert said in event.message
    assert len(event.name) <= 80
    assert len(event.message) <= 600  # whatever the message held
    rules.apply(changes)
    assert ids(rules) == [("big", 1), ("velocity", 1), ("a", 5)]
    point = event.to_point()
    assert (point.measurement, point.tags, point.fields) == ("pipeline", {"reason": "rule_refused"}, {"rejected": 1})


def test_the_record_of_an_event():
    (changed,) = read(("big", {"version": 2, "when": "amount > 5", "mode": "shadow"}), start=3).events
    assert orjson.loads(changed.to_json()) == {
        "event": "rule_changed",
        "rule": "big",
        "version": 2,
        "at": "2024-12-04T12:00:00.003Z",
        "message": "in force: shadow, medium, review, when amount > 5",
        "topic": RULES,
        "partition": 0,
        "offset": 3,
    }
    assert changed.to_point() is None
    (removed,) = read(("big", None)).events
    assert (removed.event, removed.name, removed.version, removed.message) == ("rule_changed", "big", None, "removed")


def test_a_rule_that_needs_another_window_is_refused_and_in_force_after_a_restart():
    rule = ("wide", {"when": "count_1h > 9"})
    changes = read(rule)
    assert (changes.rules, changes.waiting) == ([], ["wide"])
    (event,) = changes.events
    assert event.event == "rule_refused"
    assert "does not keep count_1h. The rule is in force after a restart" in event.message
    start = start_of([messages(rule)], {(RULES, 0): 1}, known, LISTS)
    assert start.names == ("count_1h",)
    plan = Plan.of((*BASE_RULES.names, *start.names), allowed_lateness=0)
    assert ids(RulesInForce(BASE_RULES, plan.name, start)) == [("big", 1), ("velocity", 1), ("wide", 1)]


def test_a_start_has_the_last_usable_word_and_passes_over_what_it_has_seen():
    sent = [
        ("big", {"version": 2, "when": "amount > 5"}),
        ("big", b"nonsense"),
        ("velocity", None),
        ("night", {"when": "is_night"}),
        ("night", {"when": "unknown > 1"}),
    ]
    batch = messages(*sent)
    start = start_of([batch], {(RULES, 0): 5}, known, LISTS)
    rules = in_force(start)
    assert ids(rules) == [("big", 2), ("night", 1)]
    # The same messages again, cut as they may come, and a new one behind them.
    rules.apply(read(*sent[:3]))
    rules.apply(read(*sent[3:], ("night", {"version": 2, "when": "is_night"}), start=3))
    assert ids(rules) == [("big", 2), ("night", 2)]
    # An older message of another partition is not held back by this one's end.
    rules.apply(read(("big", None), partition=1))
    assert ids(rules) == [("night", 2)]


def test_a_restart_has_the_rules_and_lists_that_were_in_force():
    before = in_force()
    before.apply(
        read(("big", {"version": 2, "when": "amount > 5"}), ("velocity", None), ("night", {"when": "is_night"}))
    )
    before.apply(read(entry("trusted", "ann"), entry("blocked", "bob", expires_at=NOON / 1000), topic=LISTS))
    after = in_force()
    after.restore(before.state())
    assert ids(after) == ids(before) == [("big", 2), ("night", 1)]
    assert after.lists == before.lists == {"trusted": {"ann": FOREVER}, "blocked": {"bob": NOON}}
    # What its topic has said since then is newer.
    start = Start({"velocity": before.base.rules[1]}, read(("trusted/ann", None), topic=LISTS).lists)
    later = in_force(start)
    later.restore(before.state())
    assert ids(later) == [("big", 2), ("velocity", 1), ("night", 1)]
    assert later.lists["trusted"] == {}


def test_a_rule_in_the_state_that_can_not_run_any_more_is_told_with_what_to_do():
    plan = Plan.of(("count_1h",), allowed_lateness=0)
    wide = ChangeReader(plan.name, known, LISTS).read(messages(("wide", {"when": "count_1h > 9"}))).rules[0].rule
    with pytest.raises(RuleError, match=r"(?s)wide.*count_1h.*Publish it anew"):
        in_force().restore(State({"wide": wide}))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("trusted", {}, "wanted list/value"),
        ("/ann", {}, "wanted list/value"),
        ("trusted/", {}, "wanted list/value"),
        ("tru sted/ann", {}, "wanted list/value"),
        ("trusted/" + "x" * 257, {}, "wanted list/value"),
        (None, None, "wanted list/value"),
        ("trusted/ann", b"x", "not JSON"),
        ("trusted/ann", b"[]", "a JSON list"),
        ("trusted/ann", {"list": "trusted", "value": "bob"}, "wanted `list` 'trusted' and `value` 'ann'"),
        ("trusted/ann", {"list": "trusted", "value": "ann", "expires": 1}, "unknown field 'expires'"),
        (
            "trusted/ann",
            {"list": "trusted", "value": "ann", "expires_at": "soon"},
            "`expires_at`: 'soon' is not a time",
        ),
        ("trusted/ann", {"list": "trusted", "value": "ann", "expires_at": True}, "`expires_at`"),
    ],
)
def test_a_bad_entry_is_refused_with_one_event(key, value, said):
    changes = read((key, value), topic=LISTS)
    (event,) = changes.events
    assert (changes.lists, event.event) == ([], "list_refused")
    assert said in event.message


def test_entries_are_set_and_removed_and_told_by_the_batch():
    changes = read(entry("trusted", "a/b", note="office"), entry("blocked", "bob"), ("blocked/bob", None), topic=LISTS)
    (event,) = changes.events
    assert (event.event, event.name, event.message) == ("list_changed", "blocked, trusted", "2 entries set, 1 removed")
    assert orjson.loads(event.to_json())["list"] == "blocked, trusted"
    rules = in_force()
    rules.apply(changes)
    assert rules.lists == {"trusted": {"a/b": FOREVER}, "blocked": {}}


def test_an_entry_is_forgotten_a_month_after_its_end():
    rules = in_force()
    ends = {"soon": NOON, "later": NOON + DAY, "last": NOON + 2 * DAY}
    rules.apply(read(*(entry("blocked", value, expires_at=iso(end)) for value, end in ends.items()), topic=LISTS))
    rules.apply(read(entry("trusted", "always"), topic=LISTS))
    rules.pass_time(NOON + 30 * DAY - 1)
    assert set(rules.lists["blocked"]) == {"soon", "later", "last"}
    before = rules.state()
    rules.pass_time(NOON + 31 * DAY - 1)  # a day after the last look
    assert set(rules.lists["blocked"]) == {"later", "last"}
    assert rules.state() != before
    after = in_force()
    after.restore(rules.state())
    after.pass_time(NOON + 400 * DAY)
    assert after.lists == {"blocked": {}, "trusted": {"always": FOREVER}}
    assert [id for id, _ in ids(after)] == ["big", "velocity"]  # the lists that rules ask are these ones still


LISTED = """
[[rule]]
id = "blocked"
when = 'user_id in list("blocked")'
[[rule]]
id = "velocity"
when = 'amount > 1 and merchant_id not in list("trusted")'
"""


def test_a_list_is_asked_at_the_transactions_own_time():
    rules = RulesInForce(parse_rules(LISTED), Plan.of(("amount",), allowed_lateness=0).name, Start())

    def fired(**fields):
        evaluated = rules.compiled.evaluate([transaction(**fields)], [()])
        return [rules.compiled.rules[number].id for _, number in evaluated]

    assert fired(merchant_id="m1") == ["velocity"]
    assert fired() == []  # no merchant: neither in the list nor not in it
    until = "2024-12-04T12:00:01Z"
    rules.apply(read(entry("blocked", "u1", expires_at=until), entry("trusted", "m1"), topic=LISTS))
    assert fired(at=999, merchant_id="m1") == ["blocked"]
    assert fired(at=1000, merchant_id="m1") == []
    assert fired(at=500, user_id="u2", merchant_id="m2") == ["velocity"]
    rules.apply(read(("blocked/u1", None), ("trusted/m1", b""), topic=LISTS))
    assert fired(at=999, merchant_id="m1") == ["velocity"]


def decider(start=Start()):  # noqa: B008
    return Decider(BASE_RULES, PLAN.name, None, Thresholds(0.5, 0.9), start, models=["m"])


def test_the_deciders_state_holds_weights_rules_and_lists():
    weights = Weights("m", 7, TrainedOn(100, 3), -2.0, {"amount": 0.01}, NOON)
    before = decider()
    before.use(weights)
    before.change(read(("big", {"version": 2, "when": "amount > 5"}), ("velocity", None)))
    before.change(read(*(entry("trusted", f"user-{i}") for i in range(1000)), topic=LISTS))
    snapshot = before.snapshot()
    assert len(snapshot) < 30_000
    assert before.snapshot() == snapshot
    after = decider()
    after.restore(snapshot)
    assert after.weights == weights
    assert ids(after.in_force) == [("big", 2)]
    assert len(after.in_force.lists["trusted"]) == 1000
    assert after.snapshot() == snapshot
    (decision,) = after.decide([transaction(amount=6)], [(1,)], NOON).suspicious
    assert [(hit.id, hit.version) for hit in decision.hits] == [("big", 2)]


def test_an_old_state_of_the_decider_is_read_and_a_newer_one_refused():
    weights = Weights("m", 7, TrainedOn(100, 3), -2.0, {"amount": 0.01}, NOON)
    after = decider()
    after.restore(weights.to_json())  # format 1 was the weights' record, or nothing
    assert after.weights == weights
    after.restore(b"")
    assert ids(after.in_force) == [("big", 1), ("velocity", 1)]
    with pytest.raises(ValueError, match="has format 9, this program reads 3"):
        after.restore(b"\x93\x09\xa0\xa0")


def test_a_change_is_cheap_beside_a_batch():
    """Changing a rule compiles the set anew, which must not stall a shard."""
    import time

    rules = in_force(
        Start({f"r{i}": parse_rules(f'[[rule]]\nid="r{i}"\nwhen="amount > {i}"').rules[0] for i in range(50)})
    )
    changes = read(("r7", {"version": 2, "when": "amount > 5"}))
    began = time.perf_counter()
    rules.apply(changes)
    assert time.perf_counter() - began < 0.2


def test_a_stored_state_of_format_2_still_loads():
    after = decider()
    after.restore((DATA / "decider_state_2.msgpack").read_bytes())
    assert after.weights.version == 7
    assert ids(after.in_force) == [("big", 2), ("night", 1)]
    assert after.in_force.lists == {"blocked": {"bob": NOON}, "trusted": {"ann": FOREVER}}


def featured(columns):
    return Featured([transaction(amount=500)], [(1,)], columns=columns)


def test_rows_of_a_process_that_began_with_other_rules_are_refused():
    """Such rows have other columns: without the mark they would be read as the wrong features, silently."""
    mine, other = columns_mark(("count_1m",)), columns_mark(("count_1h", "count_1m"))
    logic = DecideLogic(decider(), None, mine)
    assert len(logic.on_batch([featured(mine)])[0][0].suspicious) == 1
    sent = pickle.loads(pickle.dumps(featured(other)))
    with pytest.raises(ColumnsDiffer, match="began with other rules or another model"):
        logic.on_batch([sent])


def test_a_shard_changes_its_rules_between_two_batches():
    logic = DecideLogic(decider(), None, 0)
    changes = read(("big", {"version": 2, "when": "amount > 900"}))
    before, after = logic.on_batch([featured(0), changes, featured(0)])[0]
    assert [hit.version for decision in before.suspicious for hit in decision.hits] == [1]
    assert after.suspicious == []


RULE_WORDS = [
    *(("big", {"version": version, "when": f"amount > {version}"}) for version in (2, 3)),
    ("big", None),
    ("big", b"nonsense"),
    ("velocity", None),
    ("velocity", {"version": 2, "when": "count_1m > 9"}),
    ("night", {"when": "is_night", "mode": "shadow"}),
    ("night", {"when": "unknown > 1"}),
    ("night", b""),
]
LIST_WORDS = [entry("trusted", "ann"), ("trusted/ann", None), ("trusted/ann", b"x"), entry("blocked", "bob")]


def compacted(log, after):
    """What a compacted topic keeps of `log`, where everything before `after` has been read already."""
    last = {key: offset for offset, key, _ in log}
    return [word for word in log if word[0] < after or last[word[1]] == word[0]]


def applied(rules, log, topic, begin=0, step=2):
    """The messages of a log from an offset on, in batches as they may come."""
    words = [word for word in log if word[0] >= begin]
    for start in range(0, len(words), step):
        part = words[start : start + step]
        values = [value if value is None or isinstance(value, bytes) else orjson.dumps(value) for *_, value in part]
        offsets = [offset for offset, *_ in part]
        keys = [key.encode() for _, key, _ in part]
        rules.apply(READER.read(Batch(topic, 0, offsets, offsets, keys, values)))


def state_of(rules):
    held = {name: entries for name, entries in rules.lists.items() if entries}
    return [(rule.id, rule.version, rule.mode) for rule in rules.compiled.rules], held


@given(
    st.lists(st.sampled_from(RULE_WORDS), max_size=8),
    st.lists(st.sampled_from(LIST_WORDS), max_size=6),
    st.integers(0, 8),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=200)
def test_a_restart_at_any_point_ends_with_the_same_rules(rule_words, list_words, snapshot_at, step):
    """Snapshot anywhere, the rest of the topics compacted, the flow begun anew from them and from the snapshot."""
    logs = {}
    for topic, words in ((RULES, rule_words), (LISTS, list_words)):
        logs[topic] = compacted([(offset, *word) for offset, word in enumerate(words)], snapshot_at)
    expected, before = in_force(), in_force()
    for topic, log in logs.items():
        applied(expected, log, topic, step=step)
        applied(before, [word for word in log if word[0] < snapshot_at], topic, step=step)
    held = []
    for topic, log in logs.items():
        if left := compacted(log, 0):
            pairs = [(key, value) for _, key, value in left]
            held.append(messages(*pairs, topic=topic)._replace(offsets=[offset for offset, *_ in left]))
    ends = {(RULES, 0): len(rule_words), (LISTS, 0): len(list_words)}
    after = in_force(start_of(held, ends, known, LISTS))
    after.restore(before.state())
    assert state_of(after) == state_of(expected)
    for topic, log in logs.items():
        applied(after, log, topic, begin=snapshot_at, step=step)
        assert state_of(after) == state_of(expected)
