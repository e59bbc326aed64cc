"""The table of figures and goals. Run: make bench, or python -m benchmarks [--big] [--rounds N]

Times are the processor's, not the wall's. Works take turns, and the best of the rounds counts, each the median of its
batches: other programs disturb, none helps. Also written to reports/bench.json. `--big` adds a million users, which
takes minutes and half a gigabyte.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks import pipeline, windows

REPORT = Path("reports/bench.json")
GOALS = dict(zip(pipeline.WORKS, (400_000, 220_000, 160_000), strict=True))
WORST = ("count_1h", "std_amount_1h", "max_amount_1h", "min_amount_1h", "distinct_merchant_1h", "is_new_merchant_1h")


class Figure(NamedTuple):
    """One line of the table; `goal` is a limit from below where more is better."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def in_turns(names: Iterable[str], rounds: int, measure: Callable[[str, int], float]) -> dict[str, list[float]]:
    """What each measured, round by round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            found[name].append(measure(name, number))
    return found


def figures(rounds: int, events: int, users: int) -> list[Figure]:
    """All but the million users."""
    rates = in_turns(GOALS, rounds, lambda name, seed: pipeline.events_a_second(name, events, users, seed))
    table = [Figure(name, max(values), "events/s", GOALS[name], True) for name, values in rates.items()]
    costs = in_turns(windows.WORKS, rounds, lambda name, seed: windows.cost(name, events, users, seed))
    table += [Figure(f"windows alone, {name}", min(values), "us/event") for name, values in costs.items()]
    table.append(Figure("each rule up to the fiftieth", pipeline.another_rule(), "us/event", 0.03))
    size, written, read = windows.snapshot_cost(events, users)
    table += [
        Figure("snapshot, size", size, "bytes/user", 160),
        Figure("snapshot, written", written, "MB/s", 800, True),
        Figure("snapshot, read", read, "MB/s", 300, True),
    ]
    for name in WORST:
        mean, most, nearly_all = windows.worst_user(name)
        table += [
            Figure(f"worst user, {name}, mean", mean, "us/event"),
            Figure(f"worst user, {name}, 99.9 %", most, "us/event", 50),
            Figure(f"worst user, {name}, 99.99 %", nearly_all, "us/event", 50),
        ]
    return table


def big_figures() -> list[Figure]:
    """A million users against ten thousand."""
    size, cost = windows.many_users(1_000_000, 64)
    _, small = windows.many_users(10_000, 1)
    return [
        Figure("1,000,000 users, memory", size, "bytes/user", 500),
        Figure("1,000,000 users, windows alone", cost, "us/event"),
        Figure("1,000,000 users against 10,000", cost / small, "times", 1.5),
    ]


def shown(figure: Figure) -> str:
    value = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}"
    goal = "" if figure.goal is None else f"{'>=' if figure.more_is_better else '<='} {figure.goal:,g}"
    verdict = {None: "", True: "yes", False: "no"}[figure.met]
    return f"{figure.what:44} {value:>10} {figure.unit:10} {goal:>12} {verdict}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="a million users, too")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    arguments = parser.parse_args()
    table = big_figures() if arguments.big else []  # first: memory is measured by its peak
    table += figures(arguments.rounds, arguments.events, arguments.users)
    print(f"{'':44} {'measured':>10} {'':10} {'goal':>12} met")
    for figure in table:
        print(shown(figure))
    REPORT.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "processors": os.cpu_count(), "machine": platform.machine()}
    results = [{**figure._asdict(), "met": figure.met} for figure in table]
    REPORT.write_text(json.dumps({**machine, **vars(arguments), "figures": results}, indent=2) + "\n")
    print(f"also in {REPORT}")


if __name__ == "__main__":
    main()
