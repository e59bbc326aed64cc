"""How soon drift is found, and how often where there is none. Run: python -m benchmarks.drift [--seeds N]

Scores of a calibrated model, by construction: each transaction's label is drawn with its score as the probability. 0.9
per cent are frauds, two thirds of them scored at 0.5 and above. Every detector sees every labelled example, as in the
trainer. Stationary: a million examples for each seed; after an alarm all go on. Changes: after 40,000 examples; counted
are the labelled examples from the change to the first alarm. Also written to reports/drift.json.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from msgspec.structs import replace
from numpy.random import Generator

from operators.model.cusum import ClassDrift
from operators.model.drift import DriftMonitor
from operators.model.quality import log_loss
from operators.model.specification import Monitoring
from operators.model.training import SMALLEST

REPORT = Path("reports/drift.json")
BEFORE = 40_000
LONGEST = 20_000
Examples = Iterator[tuple[float, bool]]


def scores(rng: Generator, number: int) -> np.ndarray:
    """Of all transactions: seven in a thousand look like fraud, all others hardly do."""
    odd = rng.random(number) < 0.007
    return np.where(odd, rng.beta(5, 1, number), rng.beta(0.3, 100, number))


def stationary(rng: Generator, number: int) -> Examples:
    """Labels by their scores."""
    for start in range(0, number, 100_000):
        said = scores(rng, min(100_000, number - start))
        yield from zip(said.tolist(), (rng.random(len(said)) < said).tolist(), strict=True)


def frauds_unseen(rng: Generator, number: int, share: float) -> Examples:
    """A share of the frauds, all from now on where it is 1, score as legitimate transactions do."""
    hidden = scores(rng, number)
    for (score, is_fraud), other in zip(stationary(rng, number), hidden.tolist(), strict=True):
        yield (other if is_fraud and rng.random() < share else score), is_fraud


def good_ones_suspected(rng: Generator, number: int, share: float) -> Examples:
    """A share of the legitimate transactions scores as frauds that are found do."""
    for score, is_fraud in stationary(rng, number):
        yield (float(rng.beta(5, 1)) if not is_fraud and rng.random() < share else score), is_fraud


CHANGES: dict[str, Callable[[Generator, int], Examples]] = {
    "all frauds score like legitimate": lambda rng, number: frauds_unseen(rng, number, 1.0),
    "half of the frauds do": lambda rng, number: frauds_unseen(rng, number, 0.5),
    "1 % of legitimate score like frauds": lambda rng, number: good_ones_suspected(rng, number, 0.01),
}


class Detectors:
    """All that the trainer runs, and Page-Hinkley with other thresholds."""

    def __init__(self, thresholds: list[float]) -> None:
        settings = Monitoring()
        self.monitors = {
            f"page_hinkley, threshold {threshold:g}": DriftMonitor(replace(settings, page_hinkley_threshold=threshold))
            for threshold in thresholds
        }
        self.classes = ClassDrift(settings.cusum_false_alarms)

    def update(self, score: float, is_fraud: bool) -> list[str]:
        """Which found drift at this example."""
        loss = log_loss(score, is_fraud, SMALLEST)
        found = []
        for number, (name, monitor) in enumerate(self.monitors.items()):
            for drift in monitor.update(loss):
                if drift.detector == "page_hinkley":
                    found.append(name)
                elif number == 0:
                    found.append(drift.detector)
        moved = self.classes.update(score, is_fraud)
        return [*found, moved.detector] if moved else found


def false_alarms(seed: int, thresholds: list[float], number: int) -> Counter[str]:
    """The alarms of each detector on stationary examples."""
    detectors = Detectors(thresholds)
    return Counter(name for one in stationary(np.random.default_rng(seed), number) for name in detectors.update(*one))


def delays(seed: int, thresholds: list[float], change: Callable[[Generator, int], Examples]) -> dict[str, int]:
    """After how many examples each detector found the change."""
    rng = np.random.default_rng(1_000_000 + seed)
    detectors = Detectors(thresholds)
    for one in stationary(rng, BEFORE):
        detectors.update(*one)
    found: dict[str, int] = {}
    for number, one in enumerate(change(rng, LONGEST), 1):
        for name in detectors.update(*one):
            found.setdefault(name, number)
        if number > 5_000 and any(name.startswith("cusum") for name in found):
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="changes of each kind")
    parser.add_argument("--millions", type=int, default=10, help="seeds of a million stationary examples")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[150.0], help="of Page-Hinkley")
    arguments = parser.parse_args()
    thresholds = arguments.thresholds
    table: dict[str, dict[str, object]] = {}
    alarms: Counter[str] = Counter()
    for seed in range(arguments.millions):
        alarms += false_alarms(seed, thresholds, 1_000_000)
    print(f"{'detector':28} {'false alarms in a million':>26}")
    names = ["adwin", *Detectors(thresholds).monitors, "cusum:frauds", "cusum:legitimate"]
    for name in names:
        rate = alarms[name] / max(1, arguments.millions)
        table[name] = {"false_alarms_in_a_million": rate}
        print(f"{name:28} {rate:26.2f}")
    for title, change in CHANGES.items():
        runs = [delays(seed, thresholds, change) for seed in range(arguments.seeds)]
        print(f"\n{title}, labelled examples to the alarm over {arguments.seeds} seeds: median, 95 %, worst, not found")
        first = [{**run, "any": min(run.values(), default=LONGEST)} for run in runs]
        for name in [*names, "any"]:
            took = sorted(run[name] for run in first if name in run)
            missed = len(runs) - len(took)
            if took:
                late = took[min(len(took) - 1, round(0.95 * len(took)))]
                print(f"{name:28} {median(took):8,.0f} {late:8,} {took[-1]:8,} {missed:8}")
                table.setdefault(name, {})[title] = [median(took), late, took[-1], missed]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({**vars(arguments), "detectors": table}, indent=2) + "\n")
    print(f"\nalso in {REPORT}")


if __name__ == "__main__":
    main()
