"""The windows alone: an event's cost, a snapshot's, the worst user's, and a million users'."""

import gc
import resource
from collections.abc import Sequence
from random import Random
from statistics import median

from benchmarks.work import BATCH, LATENESS, ONE, PLACES, START, TEN, THREE, clock, transactions
from operators.features.plan import EntityPlan, Plan
from operators.features.windows import Windows
from operators.transactions.records import Transaction

WORKS = {
    "1 feature": (ONE, 0.0, False),
    "3 features": (THREE, 0.0, False),
    "3 features, repeats recognised": (THREE, 0.0, True),
    "3 features, 10 % late": (THREE, 0.1, False),
    "10 features": (TEN, 0.0, False),
    "10 features, 10 % late": (TEN, 0.1, False),
}


def plan_of(names: Sequence[str], repeats: bool = False) -> EntityPlan:
    """The user's plan for the names."""
    return Plan.of(names, allowed_lateness=LATENESS, repeats=repeats).entities[0]


def cost(name: str, events: int, users: int, seed: int) -> float:
    """Microseconds an event, of the median batch of the second half."""
    names, late, repeats = WORKS[name]
    windows = Windows(plan_of(names, repeats))
    times = []
    for batch in transactions(events, users, late, seed):
        began = clock()
        windows.update(batch)
        times.append(clock() - began)
    return median(times[len(times) // 2 :]) / BATCH * 1e6


def snapshot_cost(events: int, users: int) -> tuple[float, float, float]:
    """Of the three features: bytes a user, MB/s written and read; the best of ten."""
    windows = Windows(plan_of(THREE))
    for batch in transactions(events, users, 0.0, 1):
        windows.update(batch)
    written, read = [], []
    for _ in range(10):
        began = clock()
        state = windows.snapshot()
        middle = clock()
        Windows(windows.plan, state)
        written.append(middle - began)
        read.append(clock() - middle)
    return len(state) / len(windows), len(state) / min(written) / 1e6, len(state) / min(read) / 1e6


def worst_user(name: str, events: int = 100_000) -> tuple[float, float, float]:
    """One user, all events in one window, falling amounts: microseconds of the mean event, and below which 99.9 % and
    99.99 % of single events lie."""
    windows = Windows(plan_of([name]))
    times = []
    for number in range(events):
        at = START + number * 30
        event = Transaction("card", "t", at, "one", float(events - number), merchant_id=f"m{number}")
        began = clock()
        windows.update([event])
        times.append(clock() - began)
    times.sort()
    return sum(times) / events * 1e6, times[-events // 1000] * 1e6, times[-events // 10_000] * 1e6


def many_users(users: int, groups: int) -> tuple[float, float]:
    """Bytes a user, and microseconds an event, with so many users of ten events each, the later half measured."""
    random = Random(1)
    plan = plan_of(THREE)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    states = [Windows(plan) for _ in range(groups)]
    times, now = [], START
    gc.disable()
    for number in range(10 * users // BATCH):
        group = number % groups
        batch = []
        for _ in range(BATCH):
            now += 0 if random.random() < 0.7 else 1
            user = f"u{random.randrange(users // groups) * groups + group}"
            amount, place = random.randrange(100_000) / 100, random.choice(PLACES)
            batch.append(Transaction("card", "t", now, user, amount, location=place))
        began = clock()
        states[group].update(batch)
        times.append(clock() - began)
    gc.enable()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return grown / sum(map(len, states)), median(times[len(times) // 2 :]) / BATCH * 1e6
