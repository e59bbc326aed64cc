"""What busy keys are kept in: an array in pages, a dictionary in parts; windows that many events leave at once."""

from array import array
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.features import logs, pages, texts
from operators.features.buckets import Buckets
from operators.features.pages import Pages
from operators.features.windows import Windows
from tests.oracle import Oracle
from tests.test_features_state import event, plan_of
from tests.test_features_windows import agree

FIXED = 3
SMALL = 8
"""Entries of a page here."""

operations = st.lists(
    st.tuples(
        st.sampled_from(["fromlist", "extend", "insert", "assign", "front", "end", "set", "fixed"]),
        st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=20),
        st.integers(0, 100),
    ),
    max_size=25,
)


@pytest.fixture(scope="module", autouse=True)
def small_pages() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in [("PAGE_BITS", 3), ("PAGE", SMALL), ("_WITHIN", SMALL - 1)]:
            patch.setattr(pages, name, value)
        yield


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=FIXED, max_size=40), operations, st.integers(1, 5))
def test_pages_are_as_an_array(entries: list[int], changes: list[tuple[str, list[int], int]], step: int) -> None:
    plain = array("q", entries)
    paged = Pages(plain, FIXED)
    for what, numbers, where in changes:
        place = FIXED + where % (len(plain) - FIXED + 1)
        for one in (plain, paged):
            match what:
                case "fromlist":
                    one.fromlist(numbers)
                case "extend":
                    one.extend(array("q", numbers))
                case "insert":
                    one[place:place] = array("q", numbers)
                case "assign":
                    count = len(range(place, len(one), step))
                    one[place::step] = array("q", (numbers * count)[:count])
                case "front":
                    del one[FIXED:place]
                case "end":
                    del one[place:]
                case "set" if place < len(one):
                    one[place] = numbers[0]
                case "fixed":
                    one[where % FIXED] = numbers[0]
        assert len(paged) == len(plain)
        assert paged.flat() == plain
        assert list(paged) == plain.tolist()
        assert paged[-1] == plain[-1]
        assert paged[place::step] == plain[place::step]
        assert paged[place : place + where : step] == plain[place : place + where : step]
        assert paged[:FIXED] == plain[:FIXED]
        assert [entry for part in paged.slices() for entry in part] == plain[FIXED:].tolist()


def test_pages_take_all_or_nothing() -> None:
    for length in range(3 * SMALL):
        paged = Pages(array("q", range(length)))
        with pytest.raises(OverflowError):
            paged.fromlist([1, 2, 1 << 63])
        assert paged.flat().tolist() == list(range(length))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "put", "pop", "sweep"]), st.integers(0, 300) | st.text(max_size=2))
    )
)
def test_buckets_are_as_a_dictionary(changes: list[tuple[str, int | str]]) -> None:
    plain: dict[int | str, int] = {}
    parts: Buckets[int | str] = Buckets()
    for number, (what, key) in enumerate(changes * 5, 1):
        if what == "put":
            assert parts.put(key, number) == plain.get(key, 0)
            plain[key] = number
        elif what == "pop":
            assert parts.pop(key) == plain.pop(key, 0)
        else:
            for gone, at in parts.sweep(number % parts.parts, lambda at, number=number: at < number // 2):
                assert plain.pop(gone) == at < number // 2
        assert parts.get(key) == plain.get(key, 0)
        assert len(parts) == len(plain)
    assert dict(parts.items()) == plain


@pytest.mark.parametrize("late", [0.0, 0.05])
def test_bursts_and_pauses_of_a_busy_key_agree_with_the_oracle(late: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LONG_LOG", 200)
    random, clock, events = Random(7), 0.0, []
    for number in range(600):
        clock += random.choice([0.001] * 80 + [1.5, 3.5])
        behind = random.random() * 2 if random.random() < late else 0
        place = random.choice([None, *"abc", f"p{number}", f"p{number // 2}"])
        events.append(event(clock - behind, "ann", random.choice([-number, number, 5.0]) % 4000, location=place))
    plan = plan_of(
        "distinct_location_3s", "is_new_location_2s", "distinct_amount_3s_before", "max_amount_3s",
        "min_amount_2s_before", "count_3s", "std_amount_2s", allowed_lateness=3000,
    )  # fmt: skip
    agree(plan, [events[:400], events[400:]], restore=late > 0)


def test_texts_are_looked_through_while_events_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merchants come and go; a number that is given to another must not be in a log any more."""
    for name in ("SLACK", "FRONT", "ROW", "AT_ONCE"):
        monkeypatch.setattr(texts, name, 5)
    random, clock, events = Random(11), 0.0, []
    for number in range(3000):
        clock += random.random()
        place = random.choice([None, f"p{number // 20}", f"p{number}", f"p{max(0, number - 40)}"])
        behind = random.choice([0, 0, 0, random.random() * 3])
        events.append(event(clock - behind, random.choice(["ann", "bob", "carl"]), location=place))
    plan = plan_of("last_location_5s", "distinct_location_5s", "last_location_last3", allowed_lateness=3000)
    windows, oracle = Windows(plan), Oracle(plan.features, 3000)
    given = set()
    for one in events:
        expected, _ = oracle.add(one)
        assert dict(zip(plan.columns, windows.update([one])[0], strict=True)) == expected
        given |= {number for _, number in windows._logs.texts.items()}
    assert len(given) < 1500
    assert len(windows._logs.texts) < 500
