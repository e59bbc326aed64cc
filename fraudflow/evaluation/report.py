"""An evaluation's report: one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fraudflow.evaluation import charts
from fraudflow.evaluation.costs import Costs
from fraudflow.evaluation.course import Course
from fraudflow.evaluation.files import whole, write_changes, write_json, write_scores
from fraudflow.evaluation.judged import Judged
from fraudflow.pages import cards, chart, page, panel, panels, table

DRIFTS = 3


def write_all(
    folder: Path, metrics: dict[str, Any], judged: Sequence[Judged], course: Course, costs: Costs
) -> list[str]:
    """Writes report.html, metrics.json, scores.csv, and changes.csv if `judged` has a second one: the names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_report(folder / "report.html", metrics, judged[0], course, costs)
    write_json(folder / "metrics.json", metrics)
    write_scores(folder / "scores.csv", judged[0])
    if len(judged) == 1:
        return ["report.html", "metrics.json", "scores.csv"]
    write_changes(folder / "changes.csv", *judged)
    return ["report.html", "metrics.json", "scores.csv", "changes.csv"]


def write_report(path: Path, metrics: dict[str, Any], judged: Judged, course: Course, costs: Costs) -> None:
    """Writes the report. The same evaluation gives the same bytes."""
    found = metrics["model"]["drift"] if metrics["model"] else []
    prices = metrics["costs"]["each"]
    sections = [
        panel("Decisions", "On the labelled transactions.", table(*_decisions(metrics)), wide=True),
        _changes(metrics),
        chart("Precision and recall", "At every threshold.", charts.precision_recall(judged)),
        chart("ROC", "Frauds found against legitimate transactions bothered.", charts.roc(judged)),
        chart("Scores", "Logarithmic.", charts.distribution(judged)),
        chart("Calibration", _calibration(metrics["score"]), charts.calibrated(judged)),
        chart(
            "Cost against threshold",
            f"A missed fraud costs {'its amount' if prices['missed'] == 'amount' else format(prices['missed'], 'g')}, "
            f"a review {prices['review']:g}, a legitimate transaction blocked {prices['block']:g}.",
            charts.cost(judged, costs),
            wide=True,
        ),
        chart("Weights", "The strongest of the last version, over time.", charts.weights(course), wide=True),
        chart(
            "Quality and drift",
            f"Predicted before learned, over the latest matured examples. {_drift(found)}",
            charts.drift(course),
            wide=True,
        ),
    ]
    name = metrics["file"]
    with whole(path) as file:
        file.write(page(f"fraudflow: {name}", name, _about(metrics), cards(_cards(metrics)) + panels(sections)))


def _calibration(score: dict[str, Any]) -> str:
    dotted = "On the dotted line a score is a probability."
    if not score["scored"]:
        return dotted
    mean, rate = (_percent(score[name], 3) for name in ("mean_score", "fraud_rate"))
    return (
        f"{dotted} Mean score {mean}, fraud rate {rate}, calibration error {score['expected_calibration_error']:.5f}."
    )


def _drift(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No drift was found."
    first = "; ".join(event["message"] for event in found[:DRIFTS])
    return f"Drift was found {len(found):,} times (all are in metrics.json): {first}{' …' * (len(found) > DRIFTS)}"


def _about(metrics: dict[str, Any]) -> str:
    parts = [f"Labels known {metrics['label_delay_s'] / 3600:g} h after their transactions; predicted before learned."]
    if metrics["from"] or metrics["to"]:
        parts.append(f"Judged from {metrics['from'] or 'the start'} to {metrics['to'] or 'the end'}.")
    if metrics["rejected"]:
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in metrics["rejected"].items())
        parts.append(f"Not usable: {rejected}.")
    if metrics["warming_up"]:
        until: dict[str, list[str]] = {}
        for name, full_from in metrics["warming_up"].items():
            until.setdefault(full_from[:16], []).append(name)
        told = "; ".join(f"{', '.join(names)} until {time}" for time, names in sorted(until.items()))
        parts.append(f"Windows begin empty with the history; warming up: {told}.")
    if metrics["note"]:
        parts.append(f"{metrics['note'][0].upper()}{metrics['note'][1:]}.")
    return " ".join(parts)


def _cards(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    score, capacity = metrics["score"], metrics["at_capacity"]
    return [
        ("transactions", f"{metrics['transactions']:,}"),
        ("frauds", f"{metrics['frauds']:,}"),
        ("ROC AUC", _figure(score["roc_auc"])),
        ("average precision", _figure(score["average_precision"])),
        ("Brier", _figure(score["brier"], 5)),
        ("calibration error", _figure(score["expected_calibration_error"], 5)),
        (f"precision of {capacity['cards_a_day']} users a day", _percent(capacity["card_precision"])),
        ("cost of the decisions", f"{metrics['costs']['decisions']['total']:,.0f}"),
    ]


def _decisions(metrics: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = [_hits("all decisions", metrics["decisions"])]
    if "against" in metrics:
        rows.append(_hits(f"all with {', '.join(metrics['against']['files'])}", metrics["against"]["decisions"]))
    rows += [_hits(f"rule {rule}", hits) for rule, hits in metrics["rules"].items()]
    for name in ("review", "block"):
        at = metrics["score"][f"at_{name}_threshold"]
        rows.append([f"score ≥ {at['threshold']:g}", f"{at['above']:,}", "", *map(_percent, _rates(at))])
    if at := metrics["score"]["at_precision"]:
        least = f"score ≥ {at['threshold']:.4g}: the most at a precision of {at['at_least']:.0%}, in hindsight"
        rows.append([least, "", "", *map(_percent, _rates(at))])
    return ["", "hits", "frauds", "precision", "recall"], rows


def _hits(name: str, hits: dict[str, Any]) -> list[str]:
    return [name, f"{hits['hits']:,}", f"{hits['frauds']:,}", *map(_percent, _rates(hits))]


def _rates(hits: dict[str, Any]) -> tuple[float | None, float | None]:
    return hits["precision"], hits["recall"]


def _changes(metrics: dict[str, Any]) -> str:
    if "against" not in metrics:
        return ""
    against = metrics["against"]
    names = ", ".join(against["files"])
    rows = [
        [f"{one['from']} → {one['to']}", f"{one['transactions']:,}", f"{one['frauds']:,}", f"{one['amount']:,.0f}"]
        for one in against["changes"]
    ]
    about = f"Decisions that change with {names}; each is in changes.csv."
    body = table(["", "transactions", "frauds", "amount"], rows) if rows else '<p class="none">None.</p>'
    return panel("Against", about, body, wide=True)


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share:.{digits}%}"


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
