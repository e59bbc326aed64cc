"""A figure, and tables of them: for the terminal, as JSON, and in docs/performance.md."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

REPORT = Path("reports/bench.json")
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
PACKAGES = ("bytewax", "msgspec", "orjson")


class Figure(NamedTuple):
    """One line of a table; `goal` is a limit from below where more is better."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    worst: float | None = None
    best: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """What it is, the value, its unit, the goal, whether it is met, the spread of the rounds."""
        goal = "" if self.goal is None else f"{'≥' if self.more_is_better else '≤'} {self.goal:,g}"
        verdict = {None: "", True: "yes", False: "no"}[self.met]
        spread = "" if self.worst is None or self.best is None else f"{_shown(self.worst)} to {_shown(self.best)}"
        return self.what, _shown(self.value), self.unit, goal, verdict, spread


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What it was measured on. `load` is that of the last minute; alone, a benchmark makes about 1."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def printed(figures: Iterable[Figure]) -> None:
    """To the terminal."""
    for cells in [("", "median", "", "goal", "met", "worst to best round"), *(figure.cells() for figure in figures)]:
        print("{:50} {:>9} {:10} {:>12} {:4} {}".format(*cells).rstrip())


def written(figures: Sequence[Figure], settings: dict[str, Any]) -> None:
    """To reports/bench.json."""
    REPORT.parent.mkdir(exist_ok=True)
    results = [{**figure._asdict(), "met": figure.met} for figure in figures]
    REPORT.write_text(json.dumps({**machine(), **settings, "figures": results}, indent=2) + "\n")
    print(f"also in {REPORT}")


def published(figures: Sequence[Figure]) -> None:
    """Into the page, in the place of the table that is there."""
    on = machine()
    told = ", ".join(f"{name} {on[name]}" for name in ("python", *PACKAGES))
    lines = [
        f"{on['processor']}, {on['processors']} processors, {on['system']}, {told}; load when done: {on['load']}.",
        "",
        "| what | median | | goal | met | worst to best round |",
        "| --- | ---: | --- | ---: | --- | --- |",
        *("| " + " | ".join(figure.cells()) + " |" for figure in figures),
    ]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")
    print(f"also in {PAGE}")
