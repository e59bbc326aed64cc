"""How good the model was in each part of the history, before it learned from it."""

from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from flows.settings import Settings
from fraudflow.evaluation.history import History
from fraudflow.evaluation.judged import Judged
from fraudflow.evaluation.measures import measure_score
from fraudflow.evaluation.notes import why_no_score
from fraudflow.evaluation.replay import Replay
from operators.decisions.decide import Thresholds
from operators.times import iso

WIDTH = 130
PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def quality_by_time(judged: Judged, parts: int, thresholds: Thresholds) -> list[dict[str, Any]]:
    """The score's metrics in `parts` parts of equal length in time, in order; parts without a transaction left out."""
    first, last = int(judged.time[0]), int(judged.time[-1]) + 1
    edges = np.linspace(first, last, parts + 1).astype(np.int64).tolist()
    found = []
    for start, end in pairwise(edges):
        part = judged.between(start, end)
        if len(part):
            about = {
                "from": iso(start),
                "to": iso(end),
                "transactions": len(part),
                "labelled": int(part.labelled.sum()),
            }
            found.append({**about, **measure_score(part, thresholds), "frauds": int(part.fraud.sum())})
    return found


def tell(replay: Replay, history: History, label_delay: int, parts: int, settings: Settings) -> None:
    """Prints how many rows could not be used, and the quality, or why there is none."""
    console = Console()
    for reason, count in history.rejected.items():
        console.print(f"not usable: {count:,} {reason}; first {history.first_rejected[reason]}", **PLAIN)
    note = why_no_score(replay, history, label_delay)
    if note:
        console.print(f"{note} to see how good it would have been", **PLAIN)
    else:
        thresholds = Thresholds(settings.review_threshold, settings.block_threshold)
        console.width = max(console.width, WIDTH)  # where lines are not wrapped by what shows them
        console.print(show(quality_by_time(replay.judged, parts, thresholds)))


def show(parts: list[dict[str, Any]]) -> Table:
    """The same for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("from", "transactions", "frauds", "scored", "avg precision", "ROC AUC", "log-loss"):
        table.add_column(name, justify="left" if name == "from" else "right")
    for name in ("precision", "recall", "mean score", "fraud rate"):
        table.add_column(name, justify="right")
    for part in parts:
        at = part["at_review_threshold"]
        figures = (part[name] for name in ("average_precision", "roc_auc", "log_loss"))
        table.add_row(
            part["from"][:16],
            *(f"{part[name]:,}" for name in ("transactions", "frauds", "scored")),
            *(_plain(figure, ".4f") for figure in figures),
            *(_plain(rate, ".1%") for rate in (at["precision"], at["recall"])),
            *(_plain(share, ".3%") for share in (part["mean_score"], part["fraud_rate"])),
        )
    return table


def _plain(figure: float | None, form: str) -> str:
    return "–" if figure is None else format(figure, form)
