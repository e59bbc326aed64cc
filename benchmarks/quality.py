"""How good the shipped model is on what it has not seen, against the goals.

    python -m benchmarks.quality [--seeds 11 12 13] [--paysim FILE]

Cards: six months of `benchmarks.cards`, labels 7 days late, streaming from the first day; the last four weeks are
judged. PaySim: FILE is a part of the published data set from step 9 on (data/README.md says of which kind), labels 24
steps late, steps 169 to 371 judged; and the model that has learned all of FILE, judged on the excerpt in data/ without
learning from it. PaySim is judged a second time with the feature `amount == old_balance`, which gives its frauds away
by how the data were made and which the shipped model therefore does without.
"""

import argparse
import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from msgspec import structs

from benchmarks.cards import World, card_payments
from fraudflow.evaluation.history import Labelled, read_history
from fraudflow.evaluation.judged import Judged
from fraudflow.evaluation.measures import at_capacity, measure_score
from fraudflow.evaluation.replay import Replay
from operators.decisions.decide import Thresholds
from operators.model.files import load_model
from operators.model.first import FirstModel
from operators.model.quality import average_precision
from operators.model.specification import FeatureSpec, Specification
from operators.rules import RuleSet
from operators.transactions.formats import Limits

ROOT = Path(__file__).parents[1]
HOUR, DAY = 3_600_000, 86_400_000
WEEKS = 4
THRESHOLDS = Thresholds(0.5, 0.9)
LEAK = FeatureSpec("leak", "amount == old_balance", "flag", when='format == "paysim"')


def replay(
    history: Sequence[Labelled], model: Specification, label_delay: int, first: FirstModel | None = None
) -> Replay:
    """The model over the whole history, predict before learn."""
    made = Replay(
        RuleSet(()),
        model,
        THRESHOLDS,
        label_delay=label_delay,
        label_maturity=max(30 * DAY, label_delay),
        allowed_lateness=HOUR,
        first=first,
    )
    for _ in made.run(history):
        pass
    return made


def cards(model: Specification, world: World, seed: int) -> dict[str, Any]:
    """The figures of the last four weeks."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cards.parquet"
        pq.write_table(card_payments(world, seed), path)
        history = read_history(path, Limits()).rows
    began = process_time()
    judged = replay(history, model, 7 * DAY).judged
    seconds = process_time() - began
    end = (int(judged.time[-1]) // DAY + 1) * DAY
    weeks = [judged.between(end - 7 * DAY * number, end - 7 * DAY * (number - 1)) for number in range(WEEKS, 0, -1)]
    last = judged.between(end - 7 * DAY * WEEKS, end)
    score = measure_score(last, THRESHOLDS)
    return {
        "rows": len(history),
        "weeks": [average_precision(week.score[week.scored], week.fraud[week.scored]) for week in weeks],
        "card precision": at_capacity(last, 100)["card_precision"],
        "seconds": seconds,
        **of_score(score),
    }


def of_score(score: dict[str, Any]) -> dict[str, Any]:
    at = score["at_review_threshold"]
    return {
        "precision": at["precision"],
        "recall": at["recall"],
        "mean / rate": score["mean_score"] / score["fraud_rate"],
        "calibration error": score["expected_calibration_error"],
    }


def paysim(model: Specification, path: Path) -> dict[str, dict[str, Any]]:
    """Prequential on the steps 169 to 371 of `path`, and frozen on the excerpt, which has the true rate of frauds."""
    start = Limits().paysim_start
    learned = replay(read_history(path, Limits()).rows, model, 24 * HOUR)
    late = learned.judged.between(start + 169 * HOUR, start + 372 * HOUR)
    learned.finish()
    assert learned.trainer is not None, "a replay with a model has a trainer"
    excerpt = read_history(ROOT / "data" / "paysim_excerpt.csv.gz", Limits()).rows
    frozen = replay(excerpt, model, 400 * DAY, learned.trainer.as_first(0)).judged
    return {"steps 169-371": _of_paysim(late), "true rate, frozen": _of_paysim(frozen)}


def _of_paysim(judged: Judged) -> dict[str, Any]:
    score = measure_score(judged, THRESHOLDS)
    return {
        "average precision": score["average_precision"],
        "recall at precision 0.5": (score["at_precision"] or {}).get("recall", 0.0),
        **of_score(score),
    }


def with_leak(model: Specification) -> Specification:
    """The model with the feature that gives PaySim's frauds away."""
    return structs.replace(model, features=(*model.features, LEAK))


def main() -> None:
    """Prints a line for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13], help="of the card payments")
    parser.add_argument("--paysim", type=Path, help="a file of PaySim's steps from 9 on")
    parser.add_argument("--model", type=Path, default=ROOT / "model.toml")
    options = parser.parse_args()
    gc.disable()
    model = load_model(options.model)
    for seed in options.seeds:
        found = cards(model, World(), seed)
        weeks = found.pop("weeks")
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        print(
            f"cards {seed}: average precision {np.mean(weeks):.4f} {np.round(weeks, 3).tolist()}, {shown}", flush=True
        )
    if options.paysim:
        for name, each in (("", model), (" with the leak", with_leak(model))):
            for part, found in paysim(each, options.paysim).items():
                shown = ", ".join(f"{figure} {value:.4f}" for figure, value in found.items())
                print(f"PaySim{name}, {part}: {shown}", flush=True)


if __name__ == "__main__":
    main()
