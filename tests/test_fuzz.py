"""What must hold for any bytes, tried for seconds; `make fuzz` tries it for longer. Every finding is a test here."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.model.scoring import Weights, WeightsError
from tests.fuzz.run import targets

TARGETS = targets()
Edit = tuple[int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 8),
        st.one_of(
            st.binary(max_size=4),
            st.sampled_from([b"0", b"-1", b"1e308", b"9223372036854775808", b'"', b"null", b"[", b"\xff", b"\xc3\xa9"]),
        ),
    ),
    max_size=4,
)


def edited(seed: bytes, edits: list[Edit]) -> bytes:
    """Each edit takes some bytes out somewhere and puts others in."""
    for at, gone, instead in edits:
        at %= len(seed) + 1
        seed = seed[:at] + instead + seed[at + gone :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    entry = TARGETS[name]
    entry.run(edited(data.draw(st.sampled_from(entry.seeds)), data.draw(EDITS)))


BIG = "*".join(["1000000000000000000"] * 18)
MOMENTS = "*".join(["event_time"] * 30)


@pytest.mark.parametrize(
    "when",
    [f"{BIG} * amount > 1", f"{MOMENTS} + amount > 1", f"{MOMENTS} / 3 > 1", f"sqrt({MOMENTS}) > 1", f"{BIG} % 7 > 1"],
)
def test_no_product_is_too_large_for_a_rule(when: str) -> None:
    TARGETS["expressions"].run(when.encode())


def test_a_model_whose_scores_would_be_no_numbers_is_refused() -> None:
    heavy = b'"bias":1e308,"weights":{"amount":-1e308,"size":1e300},"published_at":"2024-12-04T11:00:00Z"}'
    record = b'{"name":"m","version":1,"trained_on":{"examples":1,"frauds":0},' + heavy
    with pytest.raises(WeightsError, match=r"a weight is beyond 1e\+100"):
        Weights.from_json(record)


@pytest.mark.parametrize(
    "text", ["rule = [888]", "rule = 1", "[rule]\nid = 1", f"a = {'9' * 5000}", "a = " + "[" * 9000]
)
def test_what_is_toml_and_no_rules_is_refused(text: str) -> None:
    TARGETS["rule_files"].run(text.encode())
    TARGETS["model_files"].run(text.encode())


@pytest.mark.parametrize("name", ["joins", "trainers", "deciders", "cooldowns", "statistics", "sinks", "windows"])
def test_a_state_of_nothing_or_of_nonsense_is_refused(name: str) -> None:
    for data in (b"", b"\x00", b"\xff", b"\x93\x80\x80\x80", b"\x80" * 20):
        TARGETS[name].run(data)
