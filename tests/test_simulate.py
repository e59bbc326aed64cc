"""Simulated traffic: repeatable, readable by the flow's own decoder, and with frauds that are what they are called."""

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from fraudflow.cli import app
from fraudflow.simulation.cards import CardTraffic
from fraudflow.simulation.files import BadFile, read_rows
from fraudflow.simulation.live import Plan, stream_of
from fraudflow.simulation.malformed import KINDS, oversized
from fraudflow.simulation.scenarios import Scenario
from fraudflow.simulation.stream import Message
from fraudflow.simulation.world import CITIES, HOUR, World, distance, times
from operators.times import parse_time
from operators.transactions.decoding import Decoded, Decoder
from operators.transactions.formats import REASONS, Limits

START = parse_time("2024-12-04T08:00:00Z")
FORMATS = ("simple", "card", "paysim")
ROOT = Path(__file__).parents[1]
LIMITS = Limits(paysim_start=START - 40 * HOUR, label_delay=30_000, max_message_bytes=20_000)


def plan(form: str = "card", **changes: Any) -> Plan:
    defaults: dict[str, Any] = {
        "form": form,
        "rate": 50.0,
        "seconds": 60.0,
        "seed": 3,
        "start": START,
        "users": 500,
        "scenarios": tuple(scenario.value for scenario in Scenario),
        "fraud_share": 0.05,
        "label_delay": 30_000,
        "late_share": 0.0,
        "late_by": 60_000,
        "malformed_share": 0.0,
        "drift_after": None,
        "paysim_start": LIMITS.paysim_start,
    }
    return Plan(**{**defaults, **changes})


def messages(of: Plan) -> list[Message]:
    stream = stream_of(of)
    step = 1000 / of.rate
    moments = [of.start + int(number * step) for number in range(int(of.rate * of.seconds))]
    return [*stream.messages(moments), *stream.remaining_labels()]


def decode(values: list[bytes], *, labels: bool = False, arrived_at: int = START + 24 * HOUR) -> Decoded:
    count = len(values)
    batch = SimpleNamespace(
        topic="t",
        partition=0,
        offsets=range(count),
        timestamps=[arrived_at] * count,
        keys=[None] * count,
        values=values,
    )
    decoder = Decoder(LIMITS)
    return decoder.labels(batch) if labels else decoder.transactions(batch)


def episodes(scenario: str, count: int = 30, form: str = "card") -> list[list[Any]]:
    traffic = CardTraffic(Random(1), form, users=800, start=START, span=8 * HOUR)
    step = 8 * HOUR // count
    return [traffic.episode(scenario, START + number * step) for number in range(count)]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_seed_gives_the_same_bytes(form: str) -> None:
    odd = {"late_share": 0.1, "malformed_share": 0.05}
    assert messages(plan(form, **odd)) == messages(plan(form, **odd))
    assert messages(plan(form, **odd)) != messages(plan(form, seed=4, **odd))


@pytest.mark.parametrize("form", FORMATS)
def test_the_flow_can_read_every_message_and_label(form: str) -> None:
    sent = messages(plan(form, late_share=0.1))
    transactions = [message for message in sent if not message.is_label]
    decoded = decode([message.value for message in transactions])
    assert not decoded.dead_letters
    assert len(decoded.transactions) == 3_000
    assert {transaction.format for transaction in decoded.transactions} == {form}
    assert [transaction.user_id.encode() for transaction in decoded.transactions] == [m.key for m in transactions]
    labels = decode([message.value for message in sent if message.is_label], labels=True)
    assert not labels.dead_letters
    # PaySim's labels are inside its messages, the others' on the label topic.
    assert bool(labels.labels) is (form != "paysim")
    assert len(decoded.labels) == (3_000 if form == "paysim" else 0)


@pytest.mark.parametrize("form", ["simple", "card"])
def test_a_label_follows_its_fraud_after_the_delay(form: str) -> None:
    sent = messages(plan(form, label_delay=20_000))
    labels = decode([message.value for message in sent if message.is_label], labels=True).labels
    decoded = decode([message.value for message in sent if not message.is_label]).transactions
    event_times = {transaction.transaction_id: transaction.event_time for transaction in decoded}
    assert len(labels) > 50
    assert all(label.is_fraud and label.arrives_at == event_times[label.transaction_id] + 20_000 for label in labels)
    due = [(message.time, message.is_label) for message in sent]
    assert all(before <= after for (before, _), (after, _) in pairwise(due)), "a label left before it was due"


def test_the_share_of_frauds_is_kept_where_there_is_time_for_it() -> None:
    stream = stream_of(plan(seconds=1_200.0, rate=20.0, fraud_share=0.03))
    list(stream.messages(range(START, START + 1_200_000, 50)))
    assert 0.02 < stream.frauds / stream.sent < 0.04


def test_late_events_are_as_late_as_was_asked_for() -> None:
    decoded = decode([m.value for m in messages(plan(late_share=0.2, late_by=40_000, scenarios=()))]).transactions
    behind = [max(0, START + number * 20 - t.event_time) for number, t in enumerate(decoded)]
    late = [value for value in behind if value]
    assert 0.15 < len(late) / len(behind) < 0.25
    assert 1_000 <= min(late) <= max(late) <= 41_000


def test_card_testing_is_many_small_amounts_in_a_minute_and_then_a_large_one() -> None:
    for episode in episodes("card_testing"):
        *tests, last = episode
        assert len({purchase.user for purchase in episode}) == 1
        assert len(tests) >= 7
        assert max(purchase.amount for purchase in tests) < 5
        assert tests[-1].time - tests[0].time <= 60_000
        assert last.amount >= 400
        assert last.time > tests[-1].time


def test_account_takeover_is_in_two_places_too_far_apart_for_the_minutes_between() -> None:
    for own, *stolen in episodes("account_takeover"):
        assert not own.fraud
        assert all(purchase.fraud for purchase in stolen)
        first = stolen[0]
        kilometres = distance(CITIES[own.city], CITIES[first.city])
        assert kilometres >= 3_000
        assert kilometres / ((first.time - own.time) / HOUR) > 10_000, "an aeroplane could"


@pytest.mark.parametrize(("form", "limit"), [("card", 1_000), ("simple", 10_000)])
def test_high_amounts_are_over_the_limit_of_their_format(form: str, limit: float) -> None:
    assert all(purchase.amount > limit for episode in episodes("high_amounts", form=form) for purchase in episode)


def test_cards_used_at_the_compromised_merchant_are_later_defrauded_elsewhere() -> None:
    leaked: dict[str, tuple[str, int]] = {}
    shops = set()
    for purchase in (purchase for episode in episodes("compromised_merchant") for purchase in episode):
        if not purchase.fraud:
            leaked[purchase.user.user_id] = (purchase.merchant.merchant_id, purchase.time)
            shops.add(purchase.merchant.merchant_id)
        else:
            shop, paid = leaked[purchase.user.user_id]
            assert purchase.merchant.merchant_id != shop
            assert purchase.time > paid
    assert len(shops) == 1


def test_concept_drift_changes_the_pattern_at_its_time() -> None:
    categories = defaultdict(set)
    for episode in episodes("concept_drift", 60):
        for purchase in episode:
            categories[episode[0].time >= START + 4 * HOUR].add(purchase.merchant.category)
    assert categories[False] == {"electronics"}
    assert categories[True] == {"transport", "fuel"}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("scenario", [scenario.value for scenario in Scenario])
def test_every_scenario_occurs_in_every_format(form: str, scenario: str) -> None:
    stream = stream_of(plan(form, scenarios=(scenario,), seconds=300.0))
    list(stream.messages(range(START, START + 300_000, 50)))
    assert stream.frauds > 10


@pytest.mark.parametrize("form", FORMATS)
def test_malformed_messages_have_the_reason_that_they_are_made_for(form: str) -> None:
    good = orjson.loads(next(message.value for message in messages(plan(form, scenarios=()))))
    for reason, broken in (*KINDS, ("message_too_large", lambda m: oversized(m, LIMITS.max_message_bytes))):
        decoded = decode([broken(good)])
        assert [letter.reason for letter in decoded.dead_letters] == [reason]
    assert {reason for reason, _ in KINDS} | {"message_too_large"} == set(REASONS)


def test_people_buy_by_day_and_mostly_by_habit() -> None:
    rng = Random(5)
    world = World(rng, 400)
    day = times(rng, START - START % (24 * HOUR), START - START % (24 * HOUR) + 24 * HOUR, 20_000)
    bought = [world.ordinary(rng, time) for time in day]
    hours = Counter((p.time // HOUR + CITIES[p.user.city].utc_offset) % 24 for p in bought)
    assert sum(hours[hour] for hour in range(9, 21)) > 6 * sum(hours[hour] for hour in range(6))
    assert sum(p.merchant in p.user.habits for p in bought) > 0.8 * len(bought)
    assert sum(p.city == p.user.city for p in bought) > 0.95 * len(bought)
    amounts = [p.amount for p in bought]
    assert median(amounts) < sum(amounts) / len(amounts) / 1.3, "log-normal amounts have a long tail"


def test_the_excerpt_is_the_published_one_in_its_order() -> None:
    path = ROOT / "data" / "paysim_excerpt.csv.gz"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (ROOT / "data" / "README.md").read_text()
    rows = list(read_rows(path, START))
    assert len(rows) == 19_999
    assert orjson.loads(rows[0].value)["nameOrig"] == "C1231006815"
    moments = [row.time or 0 for row in rows]
    assert moments == sorted(moments)
    assert all(START + HOUR <= moment < START + 9 * HOUR for moment in moments)
    assert sum(orjson.loads(row.value)["isFraud"] for row in rows) == 81


def test_recordings_in_json_lines_keep_their_times(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"userId":"7","amount":5,"timestamp":"2024-12-04T15:00:00Z"}\n{"userId":"8","amount":6}\n')
    first, second = read_rows(path)
    assert (first.time, first.key) == (parse_time("2024-12-04T15:00:00Z"), b"7")
    assert (second.time, second.key) == (None, b"8")


@pytest.mark.parametrize(("name", "text"), [("a.txt", "x"), ("a.jsonl", '{"amount":1}\n')])
def test_a_file_without_transactions_is_refused_with_what_is_wanted(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadFile, match="wanted"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("option", "text", "wanted"),
    [
        ("--start", "tomorrow", "is not a time"),
        ("--label-delay", "3", "is not a duration"),
        ("--rate", "0.5", "1 to 100000"),
        ("--speed", "2", "only together with --file"),
    ],
)
def test_what_is_wrong_with_an_option_is_told_with_its_name(option: str, text: str, wanted: str) -> None:
    done = CliRunner().invoke(app, ["simulate", option, text], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 2
    assert option in done.stderr
    assert wanted in done.stderr
