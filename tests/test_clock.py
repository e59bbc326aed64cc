"""A clock that is put back is noticed; one that is put forward, or only drifts, is let be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.clock import ClockWatch

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("wall", "put_back"),
    [
        ([100.0, 101.0, 102.0], [0, 0]),
        ([100.0, 3701.0, 3702.0], [0, 0]),
        ([100.0, 3701.0, 102.0], [0, 3600]),
        ([100.0, 41.0, 42.0], [60, 0]),
        ([100.0, 100.9, 101.8], [0.1, 0.1]),
    ],
)
def test_only_going_back_counts(wall: list[float], put_back: list[float]) -> None:
    steady = iter([1.0, 2.0, 3.0])
    walls = iter(wall)
    watch = ClockWatch(lambda: next(walls), lambda: next(steady))
    assert [watch.put_back() for _ in range(2)] == pytest.approx(put_back)


def test_the_process_ends_with_a_code_that_asks_for_a_restart() -> None:
    code = """
import time
from connectors.clock import ClockWatch
clock = [1000.0]
ClockWatch(lambda: clock[0] + time.monotonic()).start()
clock[0] -= 60
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert done.returncode == 75
    assert b"put back by 60.0 s" in done.stderr
