"""The result of an evaluation as tables, for people."""

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

SMALLEST = 1e-9
"""Below it a threshold would be mostly zeros."""


def show(metrics: dict[str, Any], warnings: Console) -> None:
    """What matters of metrics.json; why there is no score, on `warnings`."""
    if metrics["note"]:
        warnings.print(metrics["note"], style="yellow", markup=False, highlight=False, soft_wrap=True)
    console = Console()
    score, decisions, capacity, costs = (metrics[part] for part in ("score", "decisions", "at_capacity", "costs"))
    table = Table("", "hits", "frauds", "precision", "recall", box=None, pad_edge=False)
    rows = {"all decisions": decisions, **{f"rule {rule}": hits for rule, hits in metrics["rules"].items()}}
    for name, hits in rows.items():
        table.add_row(
            name, f"{hits['hits']:,}", f"{hits['frauds']:,}", _percent(hits["precision"]), _percent(hits["recall"])
        )
    at = score["at_review_threshold"]
    table.add_row(
        f"score ≥ {at['threshold']:g}", f"{at['above']:,}", "", _percent(at["precision"]), _percent(at["recall"])
    )
    lines = [f"{metrics['transactions']:,} transactions, {metrics['frauds']:,} of them frauds"]
    if metrics["rejected"]:
        lines.append(f"not usable: {', '.join(f'{n:,} {reason}' for reason, n in metrics['rejected'].items())}")
        lines += [f"  first {reason}: {first}" for reason, first in metrics["first_rejected"].items()]
    lines += [
        f"score: ROC AUC {_figure(score['roc_auc'])}, average precision {_figure(score['average_precision'])}, "
        f"log-loss {_figure(score['log_loss'])}, calibration error {_figure(score['expected_calibration_error'])} "
        f"on {score['scored']:,} that had one",
        f"mean score {_percent(score['mean_score'], 3)}, fraud rate {_percent(score['fraud_rate'], 3)}",
        f"{capacity['cards_a_day']} users a day looked at: precision {_percent(capacity['card_precision'])}, "
        f"mean of {capacity['days']} days",
        f"cost: {costs['decisions']['total']:,.0f} with these decisions, "
        f"{costs['decisions']['without_any_decision']:,.0f} without any",
    ]
    in_hindsight = [
        f"{what} everything from a score of {_threshold(costs[f'cheapest_{name}']['threshold'])} on: "
        f"{costs[f'cheapest_{name}']['cost']:,.0f}"
        for name, what in (("review", "reviewing"), ("block", "blocking"))
        if f"cheapest_{name}" in costs
    ]
    if in_hindsight:
        lines.append(f"the cheapest in hindsight (chosen knowing every label): {'; '.join(in_hindsight)}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    if "against" in metrics:
        _show_changes(console, metrics["against"])


def _show_changes(console: Console, against: dict[str, Any]) -> None:
    table = Table("decision", f"with {', '.join(against['files'])}", "transactions", "frauds", box=None, pad_edge=False)
    for change in against["changes"]:
        table.add_row(change["from"], change["to"], f"{change['transactions']:,}", f"{change['frauds']:,}")
    console.print(table if against["changes"] else f"no decision changes with {', '.join(against['files'])}")


def _threshold(score: float) -> str:
    """To four digits that count, so that it can be used as a setting."""
    return np.format_float_positional(score, 4, fractional=False, trim="-") if score >= SMALLEST else f"{score:.3e}"


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share:.{digits}%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
