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
    assert len(windows._logs.texts) < 10_000
    assert max(number for _, number in windows._logs.texts.items()) < 10_000
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
    with pytest.raises(StateError, match="format 99, this program reads 4; start it from an empty recovery directory"):
        Windows(windows.plan, snapshot[:4] + (99).to_bytes(2, "little") + snapshot[6:])
    with pytest.raises(StateError, match="user windows, not of merchant"):
        Windows(replace(windows.plan, entity="merchant", field="merchant_id", name="merchant"), snapshot)


STORED = (
    "c-"
    "pO#ZD<@t7{@nFYZI}GR3U<iacGdxExo<HTrNwIsEtWPuPqfrIMdDE?cCj(eMxs`dkHlmiU#wcHn}8XrFg9hO~u;QQWQn(r(%lIs?~xYl"
    "%hdtDzR#dEq-ub_Pp7s-"
    "#W1Tcm6ZKXP$kY*++Z2lhwj}et*Zk)q=1aKpPoo7%0H^pbJFcLPRXb28t}T$ngjrBFGx9hk()|0=NrrRFLaK5o8?Gw`>n6Dd72*qFIh_"
    "qd;&lr(i3Fu9!|nqam5IOEY~~*+f9oDTIx@k;^ZSqmo_7)of48kZ`J@SJo)7Y_Sg~JA_<lL6Tt#SlSQ<f~b9XHH+W$e=h~!C`QDrW_pn"
    "9EEu-"
    "#6j&I1ieVad4v0Z{$OaEWTdkA>JEn#pP;luoKBAh|JZwm<vMft&t+Eu0$|BGmKaH0+#Nv_^PsAfqA{K3x6RmBLm<W8^^IgcoxemesRSl"
    "64@fhA33tHnDcBULS8vDmZnu{R*y4@op7=VMAlj9Owvta>xh(p?_ZE9&~dg`*x)HNZilV;;CMn(F`S*RhL9_@aH6i$`$xOTeXA)FCX%W"
    "Y?N*42Dn<@Vu{tE}KED>qJAFFR6RO~b5%Kc3!)icOk2jNfxWiIVRcrpME?K-x(I+AE#ZEFwyHV*6Gax@41t^OmuL@SUI#_6g-"
    "W7CFW7Oa}ywBo!YS5d@(LKfdtaV@;r|gqt%CZt7$&2i#;`tsqndepN8X<Hs*o;`zSRji+uEgvQ44L1ON>yJ3mwL_6bOI>Gj@2>6M$Oxu"
    "S>7I^;J8v7pNZ#r4kPju&I#wU(UQNB9hk6&+K{I-"
    "rA#hMDg_pjk*;y*Iq)JwFti}5d<nF{6qL_O1UrIN<;pVh~&5&!kCBEJ)T=yAr+T$u{xf9C@MKQ^1=`3G-"
    "*d6D>F`;m8uHg9Eo9u!0Qe;r}ke{5lp=ey_5QGe;%r8np~PX_hxD~9slrvz=elpN*xbnSbGh(9hk?-"
    "RY=!}zBU7DM^>ZDx9GaqlG0cU=CHuB`pz<DZCLOfml1rEvcDCj;Ke&GGzb>Kl4B(V27&(Rr2e{hiaH{1<wdo{G+#=J_p)+i2h3J^tZo+"
    "UE@8YYtC`@;|HvFIUbl^8DHR#@-"
    "}$>GP{E(mLfBkM5cY<!=ozoy`7RH_h>#;5T~z4mDgHBl_F`<KLQ?3FR*ZKj7q+JxQMLS>=9D{2y+qqrBlT{?(e<Q2tj(nKtI1-^24~-"
    "ySd0bANedJ<$#S^Iz8A<o~?<pL}{W?9T`D_S;Sj@&1L<V<n>NZd_i+-"
    "?Lx4SA_WH*I32Iq8DnbIscQUhtJcxesF1)zb9S2E5mu+!Q!1d0J>Ile#_`Hbo#}2AI%ZnYHch|<D(KgnU+V@GW{FR=h+e"
)


def test_a_stored_snapshot_of_format_3_still_loads() -> None:
    assert state.VERSION == 4
    names = ("count_1h", "sum_amount_1h", "std_amount_1h_before", "distinct_location_1h", "max_amount_ever")
    (plan,) = Plan.of([*names, "fraud_count_1h"], allowed_lateness=LATENESS, repeats=True).entities
    windows = Windows(plan, zlib.decompress(base64.b85decode(STORED)))
    later = [event(20, location="bern", transaction_id="9"), event(21, "bob"), event(13, amount=3.25, location="rome")]
    assert windows.update(later) == [
        (15, 3, 1, 1e9, pytest.approx(267261237.27647516), 1000000226.5),
        (4, 0, 0, 13.5, pytest.approx(4.582575694955841), 29.5),
        (15, 3, 1, 1e9, pytest.approx(267261237.27647516), 1000000228.75),
    ]
