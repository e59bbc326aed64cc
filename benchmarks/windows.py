"""What an event costs in the windows. Run: python -m benchmarks.windows [--events N] [--big]

The work is that of a card issuer: users by Zipf's law (exponent 0.6), a steady pace with about 17 of a user's events in
an hour (weighted by event), batches of 1,000. Plans take turns, three rounds, and the best of each counts. `--big` adds
a million users with ten events each, which takes minutes.
"""

import argparse
import gc
import resource
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple

from operators.features.plan import EntityPlan, Plan
from operators.features.windows import Windows
from operators.transactions.records import Transaction

BATCH = 1000
START = 1_733_324_400_000
LATENESS = 60_000
PLACES = ["paris", "rome", "lyon", "oslo", "bern", "graz", "bari", "cork"]
ONE = ("count_1m",)
THREE = ("count_1m", "sum_amount_1h", "distinct_location_5m")
TEN = (
    *THREE,
    "mean_amount_24h",
    "max_amount_1h",
    "std_amount_1h",
    "seconds_since_last",
    "mean_amount_last20",
    "count_tumbling_1m",
    "count_5m",
)


class Work(NamedTuple):
    """How many events of how many users; `late` of them lie up to a minute behind."""

    name: str
    names: tuple[str, ...]
    users: int = 10_000
    late: float = 0.0


WORKS = (
    Work("1 feature", ONE),
    Work("3 features", THREE),
    Work("3 features, 10 % late", THREE, late=0.1),
    Work("10 features", TEN),
    Work("10 features, 10 % late", TEN, late=0.1),
)


def plan_of(names: Sequence[str]) -> EntityPlan:
    """The user's plan for the names."""
    return Plan.of(names, allowed_lateness=LATENESS).entities[0]


def batches(events: int, users: int, late: float, seed: int) -> Iterator[list[Transaction]]:
    """Batches made just before they are used: old, cold objects would be measured otherwise."""
    random = Random(seed)
    weights = list(accumulate((rank + 1) ** -0.6 for rank in range(users)))
    # The event-weighted number of a user's events in an hour is sum(p^2) * events an hour; 17 of them are wanted.
    share = sum(((rank + 1) ** -0.6) ** 2 for rank in range(users)) / weights[-1] ** 2
    step = 3_600_000 * share / 17
    ids = [f"user-{number}" for number in range(users)]
    clock = float(START)
    for _ in range(events // BATCH):
        batch = []
        for user in random.choices(ids, cum_weights=weights, k=BATCH):
            clock += step
            behind = random.randrange(LATENESS) if random.random() < late else 0
            amount = random.randrange(100_000) / 100
            batch.append(Transaction("card", "t", int(clock) - behind, user, amount, location=random.choice(PLACES)))
        yield batch


def cost(work: Work, events: int, seed: int) -> tuple[float, float]:
    """Microseconds an event, and of the slowest batch, once warm."""
    windows = Windows(plan_of(work.names))
    spent, measured, slowest = 0.0, 0, 0.0
    for number, batch in enumerate(batches(events, work.users, work.late, seed)):
        began = time.perf_counter()
        windows.update(batch)
        took = time.perf_counter() - began
        if number * BATCH >= events // 2:
            spent += took
            measured += len(batch)
            slowest = max(slowest, took)
    return spent / measured * 1e6, slowest / BATCH * 1e6


def snapshot_cost(events: int) -> tuple[float, float, float]:
    """Of the three features: bytes a user, MB/s written and read."""
    windows = Windows(plan_of(THREE))
    for batch in batches(events, 10_000, 0.0, 1):
        windows.update(batch)
    written, read = [], []
    for _ in range(5):
        began = time.perf_counter()
        state = windows.snapshot()
        middle = time.perf_counter()
        Windows(windows.plan, state)
        written.append(middle - began)
        read.append(time.perf_counter() - middle)
    return len(state) / len(windows), len(state) / min(written) / 1e6, len(state) / min(read) / 1e6


def worst_user(events: int = 100_000) -> list[tuple[str, float, float]]:
    """One user, all events in one window, falling amounts: microseconds an event, and of the slowest single one."""
    results = []
    for name in ("count_1h", "sum_amount_1h", "std_amount_1h", "max_amount_1h", "min_amount_1h", "distinct_merchant_1h",
                 "is_new_merchant_1h"):  # fmt: skip
        windows = Windows(plan_of([name]))
        times = []
        for number in range(events):
            event = Transaction(
                "card", "t", START + number * 30, "one", float(events - number), merchant_id=f"m{number}"
            )
            began = time.perf_counter()
            windows.update([event])
            times.append(time.perf_counter() - began)
            if sum(times) > 20:
                break
        times.sort()
        results.append(
            (f"{name} ({len(times)} events)", sum(times) / len(times) * 1e6, times[-max(1, len(times) // 1000)] * 1e6)
        )
    return results


def million_users(users: int = 1_000_000) -> tuple[float, float, float]:
    """Bytes a user, microseconds an event and of the slowest batch, with as many users of ten events each."""
    groups = 64
    random = Random(1)
    plan = plan_of(THREE)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    states = [Windows(plan) for _ in range(groups)]
    spent, slowest, clock = 0.0, 0.0, START
    gc.disable()
    for number in range(10 * users // BATCH):
        group = number % groups
        batch = []
        for _ in range(BATCH):
            clock += 0 if random.random() < 0.7 else 1
            user = f"u{random.randrange(users // groups) * groups + group}"
            batch.append(
                Transaction("card", "t", clock, user, random.randrange(100_000) / 100, location=random.choice(PLACES))
            )
        began = time.perf_counter()
        states[group].update(batch)
        took = time.perf_counter() - began
        spent, slowest = spent + took, max(slowest, took)
    gc.enable()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return grown / sum(map(len, states)), spent / (10 * users) * 1e6, slowest * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--big", action="store_true", help="a million users, too")
    arguments = parser.parse_args()
    if arguments.big:
        size, each, slowest = million_users()
        print(
            f"{'1,000,000 users, 10 events':36} {each:6.2f} us an event, {size:.0f} bytes a user, slowest batch {slowest:.1f} ms"
        )
    results: dict[str, list[tuple[float, float]]] = {}
    for seed in range(3):
        for work in WORKS:
            results.setdefault(work.name, []).append(cost(work, arguments.events, seed))
    for name, costs in results.items():
        each, slowest = min(costs)
        print(f"{name:36} {each:6.2f} us an event, {1 / each:5.2f} M/s; slowest batch {slowest:.2f} us an event")
    size, written, read = snapshot_cost(arguments.events)
    print(f"{'snapshot':36} {size:6.0f} bytes a user, {written:.0f} MB/s written, {read:.0f} MB/s read")
    for name, each, slowest in worst_user():
        print(f"{name:36} {each:6.2f} us an event, 99.9 % below {slowest:.0f} us")


if __name__ == "__main__":
    main()
