"""Precision at the analysts' capacity, live: what `evaluate` measures over a whole history, day by day."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.model.capacity import DAY, Capacity
from operators.model.quality import Quality

HOUR = DAY // 24

histories = st.lists(
    st.tuples(
        st.integers(0, 20).map("u{}".format),
        st.integers(0, 50).map(lambda n: n / 50),
        st.booleans(),
        st.integers(0, 5 * 24 - 1),
    ),
    max_size=80,
).map(lambda rows: sorted(rows, key=lambda row: row[3]))


def plain(rows: list[tuple[str, float, bool, int]], users: int) -> list[float]:
    """Day by day, as it is defined."""
    found: set[str] = set()
    shares = []
    for day in sorted({hour // 24 for *_, hour in rows}):
        highest: dict[str, float] = {}
        frauds = set()
        for user, score, is_fraud, hour in rows:
            if hour // 24 == day:
                highest[user] = max(score, highest.get(user, -1))
                frauds |= {user} if is_fraud else set()
        ranked = sorted((user for user in highest if user not in found), key=lambda user: (-highest[user], user))
        caught = set(ranked[:users]) & frauds
        found |= caught
        if ranked:
            shares.append(len(caught) / users)
    return shares


@given(histories, st.integers(1, 8), st.integers(0, 48))
def test_it_is_what_it_is_defined_to_be(rows: list[tuple[str, float, bool, int]], users: int, cut: int) -> None:
    capacity = Capacity(users if users > 6 else 20, 2 * DAY)
    wanted = plain(rows, users if users > 6 else 20)
    for number, (user, score, is_fraud, hour) in enumerate(rows):
        if number == cut:
            capacity = Capacity(capacity._users, 2 * DAY, capacity.state())
        capacity.add(user, score, is_fraud, hour * HOUR, hour * HOUR)
    capacity.add("last", 0.5, False, 9 * DAY, 9 * DAY)
    assert capacity.precision() == (pytest.approx(sum(wanted) / len(wanted)) if wanted else None)


def test_a_day_is_measured_when_all_of_it_has_matured() -> None:
    capacity = Capacity(1, 2 * DAY)
    capacity.add("a", 0.9, True, HOUR, DAY)
    capacity.add("b", 0.95, False, 2 * HOUR, 3 * DAY - 1)
    assert capacity.precision() is None
    capacity.add("c", 0.1, False, 3 * DAY, 3 * DAY)
    assert capacity.precision() == 0.0
    capacity.add("a", 0.99, True, 3 * HOUR, 3 * DAY)  # too late
    assert capacity.precision() == 0.0


def test_many_users_take_no_more_room_than_their_days_need() -> None:
    capacity = Capacity(10, DAY)
    for number in range(5_000):
        capacity.add(f"u{number}", (number * 37 % 5_000) / 5_000, number % 1_000 == 0, HOUR, HOUR)
    assert len(capacity.state().highest[0]) <= 30
    top = sorted(range(5_000), key=lambda number: -(number * 37 % 5_000))[:10]
    assert set(capacity.state().highest[0]) >= {f"u{number}" for number in top}


def test_both_thresholds_and_calibration_are_measured() -> None:
    quality = Quality(100)
    rows = [(0.95, True), (0.92, False), (0.6, True), (0.55, False), (0.3, True), *[(0.05, False)] * 5]
    for row in rows:
        quality.add(*row)
    found = quality.metrics(0.5, 0.9)
    assert (found["precision"], found["recall"]) == (2 / 4, pytest.approx(2 / 3))
    assert (found["precision_block"], found["recall_block"]) == (1 / 2, pytest.approx(1 / 3))
    bins = [abs(0.95 + 0.92 - 1), abs(0.6 - 1), 0.55, abs(0.3 - 1), 5 * 0.05]
    assert found["calibration_error"] == pytest.approx(sum(bins) / 10)
    rate = 0.3
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert found["relative_log_loss"] == pytest.approx(found["log_loss"] / entropy)
    assert "precision_block" not in quality.metrics(0.5)
