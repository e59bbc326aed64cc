"""Boundaries in small tables, and the state: its format, changed plans, expiry, odd input."""

import base64
import zlib
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from operators.features import logs, state
from operators.features.plan import EntityPlan, Plan
from operators.features.windows import StateError, Windows
from operators.transactions.records import Transaction
from tests.oracle import Oracle

START = 1_733_324_400_000  # 2024-12-04T15:00:00Z
LATENESS = 10_000


def plan_of(*names: str, allowed_lateness: int = LATENESS) -> EntityPlan:
    (plan,) = Plan.of(names, allowed_lateness=allowed_lateness).entities
    return plan


def event(seconds: float, user: str = "ann", amount: float = 1.0, **fields: Any) -> Transaction:
    return Transaction("simple", "1", START + round(seconds * 1000), user, amount, **fields)


def values(name: str, *events: Transaction) -> list[Any]:
    return [row[0] for row in Windows(plan_of(name)).update(events)]


@pytest.mark.parametrize(
    ("name", "seconds", "expected"),
    [
        ("count_1m", [0, 59.999, 60, 120], [1, 2, 2, 1]),  # exactly a minute ago is too old
        ("count_1m_before", [0, 0, 59.999, 60], [0, 1, 2, 1]),  # an earlier event with the same time counts
        ("count_1m", [0, 5, 5, 2], [1, 2, 3, 2]),  # a late one sees its own time
        ("count_1m", [60, 55, 61, 114.999, 115], [1, 1, 3, 4, 4]),  # and is seen by later ones
        ("count_tumbling_1m", [0, 59.999, 60, 60.5, 119], [1, 2, 1, 2, 3]),
        ("count_tumbling_1m", [61, 59, 62], [1, 1, 2]),  # late, into the bucket before
        ("count_tumbling_1d", [0, 9 * 3600 - 0.001, 9 * 3600], [1, 2, 1]),  # days begin at midnight, UTC
        ("count_last2", [0, 1, 2], [1, 2, 2]),
        ("count_ever", [0, 1, 2, 1.5, 5e6], [1, 2, 3, 3, 5]),
        ("seconds_since_last", [0, 0, 2.5, 1], [None, 0.0, 2.5, 1.0]),
    ],
)
def test_boundaries_ties_and_late_events(name: str, seconds: list[float], expected: list[Any]) -> None:
    assert values(name, *map(event, seconds)) == expected


def test_missing_values_are_no_values() -> None:
    places = [event(0), event(1, location="rome"), event(2), event(3, location="oslo")]
    assert values("distinct_location_1m", *places) == [0, 1, 1, 2]
    assert values("last_location_1m", *places) == [None, "rome", "rome", "oslo"]
    assert values("last_location_1m_before", *places) == [None, None, "rome", "rome"]
    assert values("is_new_location_1m", *places, event(4, location="rome")) == [None, True, None, True, False]
    balances = [event(0), event(1, old_balance=4.0), event(2, old_balance=-2.0), event(3, old_balance=float("inf"))]
    assert values("mean_old_balance_1m", *balances) == [None, 4.0, 1.0, 1.0]
    assert values("sum_old_balance_1m", *balances) == [0.0, 4.0, 2.0, 2.0]
    assert values("min_old_balance_1m", *balances) == [None, 4.0, -2.0, -2.0]
    assert values("std_amount_1m", event(0, amount=1), event(1, amount=3)) == [None, pytest.approx(2**0.5)]


def test_a_transaction_without_the_key_has_no_values_and_is_not_kept() -> None:
    windows = Windows(plan_of("count_1h_by_merchant", "sum_amount_1h_by_merchant"))
    assert windows.update([event(0), event(1, merchant_id="m")]) == [(None, None), (1, 1.0)]
    assert len(windows) == 1


def test_sums_are_exact_and_do_not_depend_on_the_order() -> None:
    amounts = [0.1] * 1000 + [1e9] * 1000 + [0.2] * 1000
    Random(1).shuffle(amounts)
    total = values("sum_amount_1h", *(event(0, amount=amount) for amount in amounts))[-1]
    assert total == 1e12 + 300
    assert values("std_amount_1h", event(0, amount=1e9), event(0, amount=1e9), event(0, amount=1e9))[-1] == 0.0


def test_speed_is_that_of_the_great_circle() -> None:
    paris, tokyo = {"latitude": 48.8566, "longitude": 2.3522}, {"latitude": 35.6762, "longitude": 139.6503}
    speeds = values("speed_kmh", event(0, **paris), event(1), event(3600, **tokyo), event(3600, **paris))
    assert speeds[:2] == [None, None]
    assert speeds[2] == pytest.approx(9712, abs=1)
    assert speeds[3] == pytest.approx(9712 * 3600, rel=1e-3)  # no time between them counts as a second


def test_an_event_beyond_the_allowed_lateness_is_counted_and_told() -> None:
    windows = Windows(plan_of("count_1m"))
    windows.update([event(100), event(90)])
    assert (windows.late, windows.last_late) == (0, [])
    rows = windows.update([event(101), event(90.999), event(102)])
    assert (windows.late, windows.last_late) == (1, [1])
    assert [row[0] for row in rows] == [3, 2, 5]
    windows.update([event(103)])
    assert (windows.late, windows.last_late) == (1, [])
    assert Windows(windows.plan, windows.snapshot()).late == 1


def test_keys_without_events_are_forgotten_within_twice_the_retention() -> None:
    windows = Windows(plan_of("count_1m", "last_location_1m"))
    windows.update([event(0, f"user-{number}", location=f"place-{number}") for number in range(1000)])
    assert len(windows) == 1000
    for minute in range(10):
        windows.update([event(60 * minute, "ann", location="rome")])
    assert len(windows) == 1
    for minute in range(10, 40):  # what is forgotten is freed bit by bit
        windows.update([event(60 * minute, "ann", location="rome")])
    assert not windows._logs.dying


def test_texts_that_no_log_holds_are_forgotten() -> None:
    windows = Windows(plan_of("distinct_location_1m", "last_location_1m"))
    for number in range(30):
        rows = windows.update([event(1000 * number + i / 10, location=f"place-{number}-{i}") for i in range(1000)])
        assert rows[-1] == (600, f"place-{number}-999")
    assert len(windows._logs.texts) < 10_000
    assert max(windows._logs.texts) < 10_000
    assert Windows(windows.plan, windows.snapshot()).update([event(29_100)]) == [(599, "place-29-999")]


def test_one_key_cannot_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_KEPT", 100)
    windows = Windows(plan_of("count_1h"))
    counts = [row[0] for row in windows.update([event(i / 1000) for i in range(1000)])]
    assert counts[:100] == list(range(1, 101))
    assert 50 <= min(counts[100:])
    assert max(counts) < 200
    assert windows.cut > 0
    assert Windows(windows.plan, windows.snapshot()).cut == windows.cut


@pytest.mark.parametrize("typecode", ["I", "q"])
def test_a_restored_state_goes_on_as_if_nothing_had_been(typecode: str) -> None:
    plan = plan_of("sum_amount_1h_by_amount", "distinct_user_ever_by_amount", "last_country_last3_before_by_amount")
    amount = 1.5 if typecode == "I" else 1e9
    events = [event(i, f"u{i % 7}", amount, country=f"C{i % 3}") for i in range(50)]
    windows, restored = Windows(plan), Windows(plan)
    for one in events:
        restored = Windows(plan, restored.snapshot())
        assert restored.update([one]) == windows.update([one])
    assert restored.snapshot() == windows.snapshot()
    assert {log.typecode for _, log in restored._logs.all()} == {typecode}


def test_windows_that_a_changed_plan_adds_are_made_of_the_log() -> None:
    old = plan_of("count_1h", "distinct_location_1m")
    new = plan_of(
        "count_1m", "sum_amount_1h", "std_amount_30m", "max_amount_tumbling_1m", "min_amount_1h", "last_amount_1h_before",
        "distinct_amount_1h", "is_new_location_1m", "last_location_1m", "count_ever", "std_amount_ever", "count_last3",
    )  # fmt: skip
    random = Random(3)
    events = [
        event(
            random.randrange(2000), random.choice("ab"), random.choice([1.5, 20.25, 1e9]), location=random.choice("pqr")
        )
        for _ in range(120)
    ]
    events.sort(key=lambda e: e.event_time + random.randrange(9000))
    windows, oracle = Windows(old), Oracle(new.features, LATENESS)
    for one in events[:80]:
        windows.update([one])
        oracle.add(one)
    windows = Windows(new, windows.snapshot())
    for one in events[80:]:
        expected, late = oracle.add(one)
        row = dict(zip(new.columns, windows.update([one])[0], strict=True))
        assert not late
        assert {
            name: pytest.approx(value) if name.startswith("std") else value for name, value in expected.items()
        } == row


def test_what_the_old_plan_did_not_keep_is_missing_for_the_events_of_then() -> None:
    windows = Windows(plan_of("count_1h"))
    windows.update([event(0, location="rome"), event(1, location="oslo")])
    windows = Windows(plan_of("count_1h", "distinct_location_1h"), windows.snapshot())
    assert windows.update([event(2, location="bern")]) == [(3, 1)]


def test_a_state_that_cannot_be_used_is_refused_with_what_to_do() -> None:
    windows = Windows(plan_of("count_1m"))
    windows.update([event(0)])
    snapshot = windows.snapshot()
    with pytest.raises(StateError, match="no state of windows; start it from an empty recovery directory"):
        Windows(windows.plan, b"pickled?")
    with pytest.raises(StateError, match="damaged"):
        Windows(windows.plan, snapshot[:-1] + bytes([snapshot[-1] ^ 1]))
    with pytest.raises(StateError, match="format 99, this program reads 1; start it from an empty recovery directory"):
        Windows(windows.plan, snapshot[:4] + (99).to_bytes(2, "little") + snapshot[6:])
    with pytest.raises(StateError, match="user windows, not of merchant"):
        Windows(replace(windows.plan, entity="merchant", field="merchant_id"), snapshot)


STORED = (
    "c-oCnOG*Pl5S<A^6ocr}l~|i>dNGs4Nz$9>Mi4}@a}gwTOq&eObYo9<K8WA}yo4uk<H93&3~%5Stey{&F{lrQH}$Ie^{YO;JiBn6"
    "R_)_exQ=rVT<B0Qfr3f60s@L_D@g&g=^r%%F9iWU!#35*Z~`}>N;J?mfomC=SR_CPkeHaVSQ?>oLNhrRG#t}NUbECPQ)VnOycoJd"
    ">xEW4=GJ8ZF<anR(ZudN6k|Ehnp&|i3dICS9?T9ToQvUi5L6<jIZz+t8H|bHmDDH=8CHHfXmtXwm9MqLdnP~|1aA2<-Gd36b0kML"
    "TExXfPp#hUkVcTk8Kd{W!(U<I5m&b9lLpor7fCIYjJe%4i6rC!ZLo)$lVK<4gYLew4%Jfq$a^VI!;JfJ#+|#2-(GsoZ`iG8?7e5s"
    "$Dbwcoz$N;ex7r4u9WnO^FQq6_Z~i1SL(vo?RVGSTVNBv?b16{OK-9=fA0R7X=}~Q7ZLA>g#"
)


def test_a_stored_snapshot_of_format_1_still_loads() -> None:
    assert state.VERSION == 1
    plan = plan_of("count_1h", "sum_amount_1h", "distinct_location_1h", "max_amount_ever")
    windows = Windows(plan, zlib.decompress(base64.b85decode(STORED)))
    assert windows.late == 1
    assert windows.update([event(20, location="bern"), event(21, "bob")]) == [
        (6, 3, 500_000_000.0, 500_000_053.0),
        (2, 0, 8.5, 9.5),
    ]
