"""The windows alone: an event's cost, a snapshot's, the worst user's, and a million users'."""

import gc
import math
import resource
from collections.abc import Iterator, Sequence
from random import Random
from statistics import median

from benchmarks.work import BATCH, LATENESS, ONE, PLACES, START, TEN, THREE, clock, transactions
from operators.features.plan import EntityPlan, Plan
from operators.features.windows import Windows
from operators.transactions.records import Transaction

MINUTE = 60_000
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


def hostile(events: int) -> Iterator[Transaction]:
    """One user: a burst of so many events within a window of an hour, each smaller and with another merchant; a pause,
    in which most leave the window at once; some more, and a pause in which all leave."""
    at, more = START, events // 20
    for number in range(events + 2 * more):
        at += {events: 35 * MINUTE, events + more: 120 * MINUTE}.get(number, 3_000_000 // events)
        yield Transaction("card", "t", at, "one", float(2 * events - number), merchant_id=f"m{number}")


def worst_user(name: str, events: int, rounds: int, collector: bool) -> tuple[float, float, float]:
    """Microseconds of the mean event, below which 99.99 % of single events lie, and of the slowest.

    What other programs and the machine do takes hundreds of microseconds now and then; what is ours comes back at the
    same event. So each event has its best of some rounds. `collector` leaves Python's garbage collector on.
    """
    best = [math.inf] * (events + 2 * (events // 20))
    for _ in range(rounds):
        windows = Windows(plan_of([name]))
        gc.collect()
        if not collector:
            gc.disable()
        for number, event in enumerate(hostile(events)):
            began = clock()
            windows.update([event])
            best[number] = min(best[number], clock() - began)
        gc.enable()
    best.sort()
    return sum(best) / len(best) * 1e6, best[-len(best) // 10_000] * 1e6, best[-1] * 1e6


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
