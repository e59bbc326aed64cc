"""The charts of an evaluation's report. Each gives a figure, or None where there is nothing to show."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from fraudflow.evaluation.costs import Costs, cost_curve
from fraudflow.evaluation.course import Course
from fraudflow.evaluation.judged import Judged, Numbers
from fraudflow.evaluation.measures import BINS, calibration
from fraudflow.pages import AMBER, BLUE, GREEN, GREY, RED, VIOLET, Figure, figure

LINES = (BLUE, RED, GREEN, AMBER, VIOLET, "#0891b2", "#be185d", "#65a30d", "#475569", "#9333ea")
POINTS = 500
WEIGHTS = 10


def precision_recall(judged: Judged) -> Figure | None:
    """Precision at every recall."""
    ranked = _ranked(judged)
    if ranked is None:
        return None
    found, above, _ = ranked
    kept = _thin(len(found))
    chart = figure(showlegend=False)
    chart.add_scatter(x=found[kept] / found[-1], y=(found / above)[kept], line={"color": BLUE}, mode="lines")
    chart.update_xaxes(title="recall", range=[0, 1], tickformat=".0%")
    chart.update_yaxes(title="precision", range=[0, 1.02], tickformat=".0%")
    return chart


def roc(judged: Judged) -> Figure | None:
    """The share of frauds found for every share of legitimate transactions bothered."""
    ranked = _ranked(judged)
    if ranked is None:
        return None
    found, above, _ = ranked
    kept = _thin(len(found))
    bothered = above - found
    chart = figure(showlegend=False)
    chart.add_scatter(
        x=bothered[kept] / max(bothered[-1], 1), y=found[kept] / found[-1], line={"color": BLUE}, mode="lines"
    )
    chart.add_scatter(x=[0, 1], y=[0, 1], line={"color": GREY, "dash": "dot"}, mode="lines")
    chart.update_xaxes(title="legitimate transactions above the threshold", range=[0, 1], tickformat=".0%")
    chart.update_yaxes(title="frauds above it", range=[0, 1.02], tickformat=".0%")
    return chart


def distribution(judged: Judged) -> Figure | None:
    """How many have which score, frauds and legitimate ones apart."""
    scored = judged.scored
    if not scored.any():
        return None
    edges = np.linspace(0, 1, 51)
    chart = figure(barmode="overlay", bargap=0.05)
    for name, colour, which in (
        ("legitimate", BLUE, scored & ~judged.fraud),
        ("frauds", RED, scored & judged.fraud),
    ):
        counts = np.histogram(judged.score[which], edges)[0]
        chart.add_bar(x=(edges[:-1] + 0.01).round(3), y=counts, name=name, marker={"color": colour}, opacity=0.65)
    chart.update_xaxes(title="risk score", range=[0, 1])
    chart.update_yaxes(title="transactions", type="log", dtick=1)
    return chart


def calibrated(judged: Judged) -> Figure | None:
    """The share of frauds among those with about the same score."""
    scored = judged.scored
    if not scored.any():
        return None
    bins = calibration(judged.score[scored], judged.fraud[scored])
    most = max(one.size for one in bins)
    chart = figure(showlegend=False)
    chart.add_scatter(x=[0, 1], y=[0, 1], line={"color": GREY, "dash": "dot"}, mode="lines")
    chart.add_scatter(
        x=[one.mean_score for one in bins],
        y=[one.fraud_rate for one in bins],
        text=[f"{one.size:,} transactions" for one in bins],
        mode="lines+markers",
        line={"color": BLUE, "width": 1},
        marker={"size": [8 + 16 * (one.size / most) ** 0.25 for one in bins], "color": BLUE},
    )
    chart.update_xaxes(title=f"mean score ({BINS} bins of equal width)", range=[0, 1.02])
    chart.update_yaxes(title="share of frauds", range=[-0.02, 1.04], tickformat=".0%")
    return chart


def cost(judged: Judged, costs: Costs) -> Figure | None:
    """The cost of stopping everything from a score on, the cheapest score marked."""
    scored = judged.scored
    if not scored.any():
        return None
    chart = figure()
    columns = judged.score[scored], judged.fraud[scored], judged.amount[scored]
    for name, colour, blocking in (("reviewed", BLUE, False), ("blocked", VIOLET, True)):
        curve = cost_curve(*columns, costs, blocking=blocking).thin()
        at = curve.cheapest
        where, least = min(max(float(curve.threshold[at]), 10**-4.5), 1.0), float(curve.cost[at])
        chart.add_scatter(x=curve.threshold, y=curve.cost, name=f"{name} from there on", line={"color": colour})
        chart.add_scatter(
            x=[where],
            y=[least],
            name=f"cheapest: {least:,.0f} at {curve.threshold[at]:.3g}",
            mode="markers",
            marker={"color": colour, "size": 11, "symbol": "diamond"},
        )
    chart.update_xaxes(title="score", type="log", range=[-4.5, 0.02], dtick=1)
    without = float(curve.cost[-1])  # reviewing everything can cost a hundred times as much
    chart.update_yaxes(title="cost", range=[0, 1.25 * without] if without else None)
    return chart


def weights(course: Course) -> Figure | None:
    """The weights that are strongest at the end, over time."""
    stages = course.all()
    if not stages:
        return None
    last = stages[-1].weights.weights
    names = sorted(last, key=lambda name: (-abs(last[name]), name))[:WEIGHTS]
    times = [_moment(stage.time) for stage in stages]
    chart = figure(hovermode="x unified")
    chart.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"})
    for name, colour in zip(names, LINES, strict=False):
        chart.add_scatter(
            x=times, y=[stage.weights.weights.get(name, 0.0) for stage in stages], name=name, line={"color": colour}
        )
    chart.add_scatter(
        x=times, y=[stage.weights.bias for stage in stages], name="bias", line={"color": GREY, "dash": "dot"}
    )
    chart.update_yaxes(title="weight")
    return chart


def drift(course: Course) -> Figure | None:
    """Prequential quality over time, with the drift that was found."""
    stages = course.all()
    if not stages:
        return None
    times = [_moment(stage.time) for stage in stages]
    chart = figure(
        hovermode="x unified",
        yaxis2={"overlaying": "y", "side": "right", "showgrid": False, "rangemode": "tozero", "title": "log-loss"},
    )
    for metric, name, colour, axis in (
        ("average_precision", "average precision", BLUE, "y"),
        ("recall", "recall at the review threshold", GREEN, "y"),
        ("log_loss", "log-loss", AMBER, "y2"),
    ):
        values = [stage.weights.metrics.get(metric) for stage in stages]
        chart.add_scatter(x=times, y=values, name=name, line={"color": colour}, yaxis=axis)
    for event in course.drifts[:100]:
        chart.add_vline(x=_moment(event.at), line={"color": RED, "width": 1, "dash": "dash"})
    chart.update_layout(yaxis={"range": [0, 1.02], "tickformat": ".0%"})
    return chart


def _ranked(judged: Judged) -> tuple[Numbers, Numbers, Numbers] | None:
    """For each distinct score, from the highest down: frauds found, transactions above, and the score."""
    scored = judged.scored
    score, fraud = judged.score[scored], judged.fraud[scored]
    if not fraud.any():
        return None
    order = np.argsort(-score, kind="stable")
    score, fraud = score[order], fraud[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    return np.cumsum(fraud)[last].astype(np.float64), (last + 1).astype(np.float64), score[last]


def _thin(size: int) -> Any:
    """At most `POINTS` places, close together at the beginning, where the curves bend."""
    if size <= POINTS:
        return np.arange(size)
    return np.unique(np.append(np.geomspace(1, size, POINTS).astype(np.int64) - 1, size - 1))


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)
