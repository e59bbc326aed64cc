"""Drift is found where the loss rises, not where it falls, and not where nothing happens."""

from random import Random

import pytest
from river.drift import ADWIN

from operators.model.drift import Drift, DriftMonitor
from operators.model.specification import Monitoring


def losses(rng: Random, n: int, fraud_loss: float) -> list[float]:
    """Log-losses like a calibrated model's: most are small, one in a hundred is a fraud's."""
    return [fraud_loss * rng.random() if rng.random() < 0.01 else 0.02 * rng.random() for _ in range(n)]


def found(monitor: DriftMonitor, stream: list[float]) -> list[tuple[int, Drift]]:
    return [(number, drift) for number, loss in enumerate(stream) for drift in monitor.update(loss)]


def test_a_rise_is_found_by_both_with_what_moved() -> None:
    rng = Random(1)
    monitor = DriftMonitor(Monitoring())
    assert found(monitor, losses(rng, 20_000, 2.0)) == []
    drifts = found(monitor, losses(rng, 6_000, 14.0))
    assert {drift.detector for _, drift in drifts} == {"adwin", "page_hinkley"}
    assert min(number for number, _ in drifts) < 2_000
    for _, drift in drifts:
        assert drift.before == pytest.approx(0.02, abs=0.003)
        assert drift.after > 1.25 * drift.before
        assert drift.examples_before + drift.examples_after <= 26_000
    assert monitor.read() == {"adwin", "page_hinkley"}
    assert monitor.read() == set()


def test_a_model_that_gets_better_is_no_drift() -> None:
    rng = Random(2)
    stream = losses(rng, 5_000, 14.0) + losses(rng, 20_000, 1.0)
    assert found(DriftMonitor(Monitoring()), stream) == []


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_happens(seed: int) -> None:
    assert found(DriftMonitor(Monitoring()), losses(Random(seed), 60_000, 5.0)) == []


@pytest.mark.parametrize("cut", [0, 1, 5_000, 20_500, 22_000, 25_000])
def test_a_restored_monitor_continues_exactly(cut: int) -> None:
    rng = Random(3)
    stream = losses(rng, 20_000, 2.0) + losses(rng, 6_000, 14.0)
    whole, first = DriftMonitor(Monitoring()), DriftMonitor(Monitoring())
    before = found(first, stream[:cut])
    second = DriftMonitor(Monitoring(), first.state())
    after = [(number + cut, drift) for number, drift in found(second, stream[cut:])]
    assert before + after == found(whole, stream)
    assert second.state() == whole.state()


def test_after_a_change_of_rivers_version_adwin_begins_again_from_the_recent_losses() -> None:
    rng = Random(4)
    recent = losses(rng, 3_000, 2.0)
    first = DriftMonitor(Monitoring())
    found(first, recent)
    state = first.state()
    state.river_version, state.adwin = "0.0.1", b"another encoding"
    second = DriftMonitor(Monitoring(), state, recent)
    adwin = ADWIN(delta=1e-6)  # type: ignore[no-untyped-call]
    for loss in recent:
        adwin.update(loss)  # type: ignore[no-untyped-call]
    assert second.statistics()["adwin"] == adwin.estimation
    assert second.statistics()["page_hinkley"] == first.statistics()["page_hinkley"]
