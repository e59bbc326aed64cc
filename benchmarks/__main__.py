"""The table of figures and goals. Run: make bench, or python -m benchmarks [--big] [--rounds N] [--publish]

Times are the processor's, not the wall's. Works take turns; a round's figure is the median of its batches. The table is
of the medians of the rounds, with the spread from the worst to the best of them. Python's garbage collector is set as
in the flow. Also written to reports/bench.json, and with `--publish` to docs/performance.md. `--big` adds a million
users: a minute or two, and half a gigabyte.
"""

import argparse
from collections.abc import Callable, Iterable
from statistics import median

from benchmarks import others, pipeline, snapshots, windows
from benchmarks.table import Figure, printed, published, written
from flows import collector

BY_HAND = "a loop by hand for 3 features and rules"
GOALS = dict(zip(pipeline.WORKS, (400_000, 220_000, 160_000), strict=True))
WORST = ("count_1h", "std_amount_1h", "max_amount_1h", "min_amount_1h", "distinct_merchant_1h", "is_new_merchant_1h")


def in_turns(names: Iterable[str], rounds: int, measure: Callable[[str, int], float]) -> dict[str, list[float]]:
    """What each measured, round by round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            found[name].append(measure(name, number))
    return found


def of_rounds(what: str, values: list[float], unit: str, goal: float | None = None, more: bool = False) -> Figure:
    """The median of the rounds, and their spread."""
    best, worst = (max(values), min(values)) if more else (min(values), max(values))
    return Figure(what, median(values), unit, goal, more, worst, best)


def throughput(rounds: int, events: int, users: int) -> list[Figure]:
    """Decoding, windows and rules; the loop by hand takes its turns with them."""

    def measured(name: str, seed: int) -> float:
        if name == BY_HAND:
            return 1e6 / others.by_hand(events, users, seed)
        return pipeline.events_a_second(name, events, users, seed)

    rates = in_turns((*GOALS, BY_HAND), rounds, measured)
    return [of_rounds(name, values, "events/s", GOALS.get(name), True) for name, values in rates.items()]


def against_others(events: int, users: int, ours: float) -> list[Figure]:
    """The engine's own windows, slow as they are: once, a fifth of the events. With more of them they get slower."""
    stock = others.sliding_windows(events // 5, users)
    return [
        Figure("the engine's sliding windows, one count", stock, "us/event"),
        Figure("times as fast: all of 3 features, 5 rules", stock * ours / 1e6, "times", 100, True),
    ]


def figures(rounds: int, events: int, users: int) -> list[Figure]:
    """All but the million users."""
    table = throughput(rounds, events, users)
    table += against_others(events, users, table[0].value)
    costs = in_turns(windows.WORKS, rounds, lambda name, seed: windows.cost(name, events, users, seed))
    table += [of_rounds(f"windows alone, {name}", values, "us/event") for name, values in costs.items()]
    rules = in_turns(pipeline.MANY_RULES, rounds, lambda name, _: pipeline.another_rule(pipeline.MANY_RULES[name]))
    table += [of_rounds(f"each rule up to the fiftieth, {name}", v, "us/event", 0.03) for name, v in rules.items()]
    size, written, read = windows.snapshot_cost(events, users)
    table += [
        Figure("snapshot, size", size, "bytes/user", 160),
        Figure("snapshot, written", written, "MB/s", 800, True),
        Figure("snapshot, read", read, "MB/s", 300, True),
    ]
    for name in WORST:
        mean, most, slowest = windows.worst_user(name, events, rounds, collector=True)
        _, _, without = windows.worst_user(name, events, rounds, collector=False)
        table += [
            Figure(f"worst user, {name}, mean", mean, "us/event"),
            Figure(f"worst user, {name}, 99.99 %", most, "us/event", 50),
            Figure(f"worst user, {name}, slowest", slowest, "us/event", 50),
            Figure(f"worst user, {name}, collector off", without, "us/event", 50),
        ]
    return table


def big_figures() -> list[Figure]:
    """A million users against ten thousand."""
    size, cost = windows.many_users(1_000_000, 64)
    _, small = windows.many_users(10_000, 1)
    kept = snapshots.compared(1_000_000, 1_000_000)
    return [
        Figure("1,000,000 users, share of the time for the redo log", kept["share"], "of 1", 0.1),
        Figure("1,000,000 users, longest pause, 20,000 events/s", kept["pause"], "s", 0.25),
        Figure("1,000,000 users, the processor's part of it", kept["busy"], "s", 0.25),
        Figure("1,000,000 users, state on disk against live", kept["size"], "times", 3),
        Figure("1,000,000 users, restart to the first event", kept["restart"], "s", 10),
        Figure("1,000,000 users, memory", size, "bytes/user", 500),
        Figure("1,000,000 users, windows alone", cost, "us/event"),
        Figure("1,000,000 users against 10,000", cost / small, "times", 1.5),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="a million users, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--publish", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    collector.settle()
    table = big_figures() if arguments.big else []  # first: memory is measured by its peak
    table += figures(arguments.rounds, arguments.events, arguments.users)
    printed(table)
    written(table, {name: getattr(arguments, name) for name in ("rounds", "events", "users")})
    if arguments.publish:
        published(table)


if __name__ == "__main__":
    main()
