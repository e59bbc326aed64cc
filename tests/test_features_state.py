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
HOUR = 3_600_000


def plan_of(*names: str, allowed_lateness: int = LATENESS) -> EntityPlan:
    (plan,) = Plan.of(names, allowed_lateness=allowed_lateness).entities
    return plan


def event(seconds: float, user: str = "ann", amount: float = 1.0, **fields: Any) -> Transaction:
    fields.setdefault("transaction_id", "1")
    return Transaction("simple", event_time=START + round(seconds * 1000), user_id=user, amount=amount, **fields)


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
    assert len(windows._logs.texts.texts) < 10_000
    assert max(windows._logs.texts.texts) < 10_000
    assert Windows(windows.plan, windows.snapshot()).update([event(29_100)]) == [(599, "place-29-999")]


def test_one_key_cannot_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_KEPT", 100)
    windows = Windows(plan_of("count_1h"))
    counts = [row[0] for row in windows.update([event(i / 1000) for i in range(1000)])]
    assert counts[:100] == list(range(1, 101))
    assert min(counts[100:]) >= 50
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
        "count_1m", "sum_amount_1h", "std_amount_30m", "max_amount_tumbling_1m", "min_amount_1h",
        "last_amount_1h_before",
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
    with pytest.raises(StateError, match="format 99, this program reads 2; start it from an empty recovery directory"):
        Windows(windows.plan, snapshot[:4] + (99).to_bytes(2, "little") + snapshot[6:])
    with pytest.raises(StateError, match="user windows, not of merchant"):
        Windows(replace(windows.plan, entity="merchant", field="merchant_id"), snapshot)


STORED = (
    "c-p;`TZkM*6ozYd6EKm83%RWjFO_UImrl|>J(-!b5hf@xiYyT&OBmLsXS!y$-M*|{)jJvEl8eR*i3=tuE<Qx@L89g^7zhd~D0vDA"
    "Bu{x6#AQL)%}a>!MNd`NWO|Y&Phu5ARsD6oQ|Fwjp6!D#40IuH>GbPsx)IuoiO(F?zy^*e39*7h!nhRp*wD4jdR`Sx!8IqO3>%vj"
    "Ovb^`U|~cQTn*gF^C>pUm`0vqc|qheIe@dE?i-G6xIxttE@NffawF0<;-DMUJB1Nvc%;)$HLU7cIM(v1Rps7H$Cg``?UL~R%^`?&"
    "4-1J$cz|W>S$hDGPKRK(1~dEqEt#UCDmBZcgj?1f-wx`r8#u*r9e)@rvO3&=65^ZfYJlQej9?=RHHx5aP{E2tLC^}iu4`Kgx|Yl8"
    "3buo&0^1vMc}>d~^Qu<NWea+-utm)&IPz%}lGt4sFmPyEjJwF^z%(ashB|(=<v5$Wt1>HO1hU&Zq2N(62ArPP;ys_#31w|W(}nC>"
    "72;C!9%G@pB(9U?!zF5pI;50wC8)%6UP)px2vt0UDlej`jX)i3hcbwcnXMNP%eByoY%^g8<u~Kvn{nwOe7mJ+BW8uv0w{!d8f}?h"
    "a0BMUqRgYDA&wUzir~b(*}Q(LqQSzCyb1}qk)~u79TW!dLqKCz=urOp1CJjQP&dHxR(bg+CJ;h>@Qcuc+kEujv@f<kFUCjv<8?;r"
    "J#vkjw>pmce(uKGe9S^m@=p$Q`n}8l{O7|-{j<rd9v^eidHbLw`Ppz_`2vKxq+RCocn$pA)p@X<D*wG}Awr9Oy!II1*P$nQbqS5_"
    "?>+y^=B*_E@e}I;E`OC-HII+mUW)lKJTCZdiEUdXXL`@}8wvj8mFfLlK7p_()!Lmge`Zr7o&Tlu$sY;+>1Ojbm%m0U1>f^(%-`Jl"
    "RyzO6*z|0IKX7Ko=khmbmEi9T%KTs4m(KrwJpWgMU$%d)m&@OxKEXH3GXKGY={&vsZf1U)|8B|Q_qco#trq+xQ|50UO6R-(xxO&L"
    "<Gv#|xqJ%s3;t|X=Ksd~>HM*c{fiU)r|gi!<<n@5;HQRV{`(H6^DAGguSoEZJa_PM5ieRR_yeOd|09#>{P_=mTb<yK?|x=d#EsSo"
    "-U(#>Qy-=C&;GDXP4EjG;|`b4q4k2_@IQU$yLZHKE~l9ey;rVFM`wGx9`K#F_~K8U{8RF~FD?C5OY)1~ys(0g1?arJOk;k>OeXbz"
    "qICOWA<3UwfA$?d=ArZUP-D~4V+pi1EzYPNdaL~lk^!j5"
)


def test_a_stored_snapshot_of_format_2_still_loads() -> None:
    assert state.VERSION == 2
    names = ("count_1h", "sum_amount_1h", "std_amount_1h_before", "distinct_location_1h", "max_amount_ever")
    (plan,) = Plan.of([*names, "fraud_count_1h"], allowed_lateness=LATENESS, repeats=True).entities
    windows = Windows(plan, zlib.decompress(base64.b85decode(STORED)))
    assert (windows.since, windows.late) == (START, 2)
    later = [event(20, location="bern", transaction_id="9"), event(21, "bob"), event(13, transaction_id="x9")]
    assert windows.update(later) == [
        (15, 4, 1, 1e9, pytest.approx(267261237.7390374), 1000000204.0),
        (4, 0, 0, 9.5, pytest.approx(4.645786621588785), 13.5),
        (14, 3, 1, 1e9, pytest.approx(277350093.8830257), 1000000203.0),
    ]
    assert windows.last_repeated == [2]
