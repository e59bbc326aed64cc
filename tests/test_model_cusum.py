"""Drift in each class apart: no alarm without a change, soon with one, the same after a restart."""

from math import log
from random import Random

import msgspec
import numpy as np
import pytest

from benchmarks.drift import BEFORE, CHANGES, stationary
from operators.model.cusum import BINS, EDGES, FRAUDS, LEGITIMATE, Alternative, ClassCusum, ClassDrift, Kind, Moved


def test_the_sum_is_the_highest_over_all_moments_at_which_the_change_may_have_begun() -> None:
    kind = Kind("k", True, 50, 1_000, 0.8, (Alternative(0.25, 0.75), Alternative(0.5, 0.9)))
    rng, cusum = Random(1), ClassCusum(kind)
    for _ in range(50):
        cusum.add(rng.random())
    cusum.add(0.99)  # works the ratios out
    ratios = [list(row) for row in cusum._ratios]
    found = [rng.random() ** 2 for _ in range(40)]
    sums = [cusum.add(score) for score in found]
    steps = [[row[sum(edge <= score for edge in EDGES)] for score in found] for row in ratios]
    for number, highest in enumerate(sums):
        begun = [sum(row[start : number + 1]) for row in steps for start in range(number + 1)]
        before = [max(0.0, row[sum(edge <= 0.99 for edge in EDGES)]) + sum(s[: number + 1])
                  for row, s in zip(ratios, steps, strict=True)]  # fmt: skip
        assert highest >= max(0.0, *begun) - 1e-9
        assert highest <= max(0.0, *begun, *before) + 1e-9


def test_ratios_are_those_of_two_distributions() -> None:
    """Under the reference the expectation of the ratio itself is 1: it is one of probabilities."""
    for kind in (FRAUDS, LEGITIMATE):
        rng, cusum = Random(2), ClassCusum(kind)
        for _ in range(kind.least + 1):
            cusum.add(rng.betavariate(0.5, 2))
        reference = np.array(cusum.state().reference)
        around = np.concatenate([reference[:1], reference, reference[-1:]])
        blurred = 0.25 * around[:-2] + 0.5 * around[1:-1] + 0.25 * around[2:]
        share = (blurred + 0.5 / BINS) / (blurred.sum() + 0.5)
        for ratios in cusum._ratios:
            assert (share * np.exp(ratios)).sum() == pytest.approx(1.0)


def test_stationary_scores_raise_no_alarm_and_changes_are_found_within_2000_examples() -> None:
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        drift = ClassDrift(0.25)
        assert [one for example in stationary(rng, BEFORE) if (one := drift.update(*example))] == []
        for number, example in enumerate(CHANGES["all frauds score like legitimate"](rng, 10_000), 1):
            moved = drift.update(*example)
            if moved is not None:
                found.append(number)
                assert moved.detector == "cusum:frauds"
                assert moved.message.startswith("frauds score lower: 0.")
                assert moved.value >= log(1e6 * 0.009 / 0.25) - 0.5
                break
    assert len(found) == 6
    assert max(found) <= 2_000


def test_legitimate_transactions_that_score_as_frauds_are_found_apart() -> None:
    rng, drift = np.random.default_rng(7), ClassDrift(0.25)
    for example in stationary(rng, BEFORE):
        assert drift.update(*example) is None
    changed = CHANGES["1 % of legitimate score like frauds"](rng, 10_000)
    moved: Moved = next(one for example in changed if (one := drift.update(*example)))
    assert moved.detector == "cusum:legitimate"
    assert drift.statistics() == {"cusum:frauds": 0.0, "cusum:legitimate": 0.0}


def test_a_small_move_of_all_scores_is_no_drift() -> None:
    """A model that learns moves its scores all the time."""
    drift, rng = ClassDrift(0.25), Random(3)
    for number in range(30_000):
        is_fraud = rng.random() < 0.02
        score = (0.6 if is_fraud else 0.01) * (1.0 + 0.1 * (number > 15_000)) * rng.uniform(0.9, 1.1)
        assert drift.update(score, is_fraud) is None


@pytest.mark.parametrize("cut", [50, 4_000, 12_345])
def test_a_restored_one_continues_to_the_bit(cut: int) -> None:
    def examples() -> list[tuple[float, bool]]:
        rng = np.random.default_rng(4)
        return [*stationary(rng, 12_000), *CHANGES["half of the frauds do"](rng, 4_000)]

    whole, part = ClassDrift(0.25), ClassDrift(0.25)
    wanted = [whole.update(*one) for one in examples()]
    found = [part.update(*one) for one in examples()[:cut]]
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(part.state()), type=type(part.state()))
    part = ClassDrift(0.25, stored)
    found += [part.update(*one) for one in examples()[cut:]]
    assert found == wanted
    assert part.state() == whole.state()
    assert part.statistics() == whole.statistics()
