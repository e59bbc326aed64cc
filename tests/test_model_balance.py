"""Learning in balance: no more frauds than their share, none lost but the oldest beyond the room, order kept."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from operators.model.balance import Balance, BalanceState
from operators.model.join import Example


def example(number: int, is_fraud: bool) -> Example:
    return Example(f"t{number}", number, number, {"a": 1.0}, None, is_fraud, 1.0, 5.0)


def through(balance: Balance, verdicts: list[bool], first: int = 0) -> list[Example]:
    return [
        learned
        for number, is_fraud in enumerate(verdicts, first)
        for learned in balance.pass_through(example(number, is_fraud))
    ]


def test_frauds_wait_for_legitimate_examples_and_follow_in_order() -> None:
    balance = Balance(0.25, window=100, room=100)
    learned = through(balance, [True, True, False, False, False, True, False, False, False])
    assert [one.event_time for one in learned] == [2, 3, 4, 0, 6, 7, 8, 1]
    assert balance.waiting == 1


def test_what_is_in_balance_passes_untouched() -> None:
    verdicts = ([False] * 9 + [True]) * 50
    balance = Balance(0.2, window=100, room=10)
    assert [one.event_time for one in through(balance, verdicts)] == list(range(500))


def test_beyond_the_room_the_oldest_is_given_up_and_counted() -> None:
    balance = Balance(0.2, window=100, room=3)
    through(balance, [True] * 10)
    assert (balance.waiting, balance.dropped) == (3, 7)
    learned = through(balance, [False] * 40, first=10)
    assert [one.event_time for one in learned if one.is_fraud] == [7, 8, 9]


def test_a_flood_of_fraud_labels_is_bounded() -> None:
    balance = Balance(0.05, window=1_000, room=500)
    learned = through(balance, [number % 2 == 0 for number in range(20_000)])
    assert sum(one.is_fraud for one in learned) <= 0.05 * len(learned)
    assert balance.waiting <= 500


verdicts = st.lists(st.booleans(), max_size=80)


@given(verdicts, st.sampled_from([0.1, 0.25, 0.5]), st.integers(4, 20), st.integers(1, 30))
def test_no_window_of_learned_examples_holds_more_frauds_than_the_share(
    stream: list[bool], most: float, window: int, room: int
) -> None:
    balance = Balance(most, window, room)
    learned = [one.is_fraud for one in through(balance, stream)]
    for end in range(1, len(learned) + 1):
        seen = learned[max(0, end - window) : end]
        assert not learned[end - 1] or sum(seen) <= most * len(seen)
    assert learned.count(False) == stream.count(False)
    assert learned.count(True) + balance.waiting + balance.dropped == stream.count(True)


@given(verdicts, st.integers(0, 80))
def test_a_restored_balance_continues_as_the_first_would_have(stream: list[bool], cut: int) -> None:
    whole, first = Balance(0.3, 10, 5), Balance(0.3, 10, 5)
    before = through(first, stream[:cut])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=BalanceState)
    second = Balance(0.3, 10, 5, state)
    after = through(second, stream[cut:], first=len(stream[:cut]))
    assert before + after == through(whole, stream)
    assert second.state() == whole.state()
