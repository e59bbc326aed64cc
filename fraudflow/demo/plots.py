"""The report's plots. Each takes the outcome and gives a figure, or None where there is nothing to show."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from fraudflow.demo.outcome import Outcome
from fraudflow.demo.records import Measured, feature_text
from fraudflow.demo.summary import by_scenario
from fraudflow.pages import AMBER, BLUE, GREEN, GREY, RED, VIOLET, Figure, figure

LINE_HEIGHT = 15
RULES = (BLUE, AMBER, "#0891b2", "#be185d", GREEN, "#65a30d", "#475569", "#9333ea")
FOUND = {"rules": ("by rules", BLUE), "both": ("by rules and model", "#0891b2"), "model": ("by the model only", VIOLET)}


def alerts_over_time(outcome: Outcome) -> Figure | None:
    """Alerts a second of the run, by rule; an alert with several rules counts for each."""
    if not outcome.alerts:
        return None
    begin = _begin(outcome)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for alert in outcome.alerts:
        for rule in alert.rules or ("model only",):
            counts[rule][(alert.arrived_at - begin) // 1000] += 1
    plot = figure(barmode="stack", bargap=0.08)
    rules = [rule for rule, _ in outcome.rules.most_common() if rule != "model only"]
    colours = dict(zip(rules, RULES * (1 + len(rules) // len(RULES)), strict=False)) | {"model only": VIOLET}
    seconds = list(range(max(max(seconds) for seconds in counts.values()) + 1))
    for rule in [*rules, "model only"]:
        if rule in counts:
            heights = [counts[rule][second] for second in seconds]
            plot.add_bar(x=seconds, y=heights, name=rule, marker={"color": colours[rule], "line": {"width": 0}})
    plot.update_xaxes(title="second of the run")
    plot.update_yaxes(title="alerts a second")
    return plot


def throughput(outcome: Outcome) -> Figure | None:
    """Transactions a second, and the suspicious share of the amount over the last 30 seconds."""
    seconds, windows = _pipeline(outcome), _of(outcome, "live_stats")
    if not seconds or not windows:
        return None
    begin = _begin(outcome)
    plot = figure(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "tickmode": "auto",
            "nticks": 6,
            "tickformat": ".0%",
            "showgrid": False,
            "rangemode": "tozero",
        }
    )
    x = [(point.time - begin) / 1000 for point in seconds]
    plot.add_scatter(
        x=x,
        y=[point.fields["transactions"] for point in seconds],
        name="transactions a second",
        fill="tozeroy",
        line={"color": BLUE, "width": 2},
        fillcolor="rgba(37,99,235,.10)",
    )
    ends = [point for point in windows if (point.time - begin) / 1000 <= x[-1] + 1]
    plot.add_scatter(
        x=[(point.time - begin) / 1000 for point in ends],
        y=[point.fields["fraud_share"] for point in ends],
        name="suspicious share of the amount, last 30 s",
        yaxis="y2",
        line={"color": RED, "width": 2},
    )
    plot.update_xaxes(title="second of the run")
    plot.update_layout(yaxis={"rangemode": "tozero"})
    return plot


def scores(outcome: Outcome) -> Figure | None:
    """Risk scores of the alerts, known frauds against the rest."""
    scored = [alert for alert in outcome.alerts if alert.risk_score is not None]
    if not scored:
        return None
    plot = figure(barmode="overlay")
    for name, fraud, colour in (("not fraud", False, GREY), ("fraud", True, RED)):
        values = [alert.risk_score for alert in scored if outcome.is_fraud(alert) is fraud]
        plot.add_histogram(
            x=values, name=name, xbins={"start": 0, "end": 1.0001, "size": 0.04}, opacity=0.65, marker={"color": colour}
        )
    plot.update_xaxes(title="risk score", range=[0, 1])
    plot.update_yaxes(title="alerts", type="log", dtick=1)
    return plot


def quality(outcome: Outcome) -> Figure | None:
    """The model's prequential quality as labels mature; drift as vertical lines."""
    points = sorted(_of(outcome, "model_quality"), key=lambda point: point.fields.get("examples", 0))
    if not points:
        return None
    plot = figure(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "tickmode": "auto",
            "nticks": 6,
            "showgrid": False,
            "rangemode": "tozero",
            "tickformat": ".3~f",
        }
    )
    x = [point.fields["examples"] for point in points]
    lines = (
        ("roc_auc", "ROC AUC", BLUE, "y"),
        ("average_precision", "average precision", GREEN, "y"),
        ("log_loss", "log-loss (right)", AMBER, "y2"),
    )
    for field, name, colour, axis in lines:
        y = [point.fields.get(field) for point in points]
        dash = "dot" if axis == "y2" else "solid"
        plot.add_scatter(x=x, y=y, name=name, yaxis=axis, line={"color": colour, "width": 2, "dash": dash})
    _show_drift(plot, outcome, room=x[-1] / 4)
    plot.update_xaxes(title="labelled transactions learned from")
    plot.update_layout(yaxis={"range": [0, 1.02]})
    return plot


def _show_drift(plot: Figure, outcome: Outcome, room: float) -> None:
    """A line where drift was found, and what found it: one text for those closer together than `room`, each text below
    the one before it."""
    lines: set[float] = set()
    found: dict[float, list[str]] = {}
    points = [point for point in _of(outcome, "model_drift") if point.fields.get("drift")]
    for point in sorted(points, key=lambda point: point.fields["examples"]):
        at, detector = point.fields["examples"], point.tags.get("detector", "")
        lines.add(at)
        last = next(reversed(found), None)
        detectors = found.setdefault(at if last is None or at - last >= room else last, [])
        if detector not in detectors:
            detectors.append(detector)
    for at in sorted(lines):
        plot.add_vline(x=at, line={"color": RED, "width": 1, "dash": "dash"})
    below = 0
    for at, detectors in found.items():
        plot.add_annotation(
            x=at,
            y=1,
            yref="paper",
            yshift=-below,
            text=f"drift: {'<br>'.join(detectors)}",
            align="left",
            font={"color": RED, "size": 11},
            showarrow=False,
            xanchor="left" if at < 2 * room else "right",
            yanchor="top",
        )
        below += LINE_HEIGHT * len(detectors)


def latency(outcome: Outcome) -> Figure | None:
    """From arrival at the broker: the decision on every transaction, and the alert's own arrival on its topic."""
    seconds = [point for point in _pipeline(outcome) if "latency_p50_ms" in point.fields]
    if not seconds:
        return None
    begin = _begin(outcome)
    plot = figure()
    x = [(point.time - begin) / 1000 for point in seconds]
    for field, name, colour in (("latency_p50_ms", "decision, p50", BLUE), ("latency_p99_ms", "decision, p99", AMBER)):
        y = [max(0.5, point.fields[field]) for point in seconds]
        plot.add_scatter(x=x, y=y, name=name, line={"color": colour, "width": 2})
    plot.add_scatter(
        x=[(alert.arrived_at - begin) / 1000 for alert in outcome.alerts],
        y=[max(0.5, alert.latency) for alert in outcome.alerts],
        name="each alert",
        mode="markers",
        marker={"size": 4, "color": RED, "opacity": 0.25},
        hoverinfo="skip",
    )
    plot.update_xaxes(title="second of the run")
    plot.update_yaxes(title="milliseconds", type="log", dtick=1)
    return plot


def scenarios(outcome: Outcome) -> Figure | None:
    """Known frauds by scenario: what found them, and the missed."""
    table = by_scenario(outcome)
    if not table:
        return None
    plot = figure(height=90 + 42 * len(table), barmode="stack", bargap=0.35)
    names = list(reversed(table))
    for key, (name, colour) in {**FOUND, "": ("missed", "#d1d5db")}.items():
        counts = [table[scenario][key] for scenario in names]
        text = [str(count) if count else "" for count in counts]
        plot.add_bar(
            y=[_words(s) for s in names],
            x=counts,
            name=name,
            orientation="h",
            text=text,
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            marker={"color": colour},
        )
    plot.update_xaxes(title="known frauds (transactions)")
    plot.update_layout(hovermode="y unified")
    return plot


def weights(outcome: Outcome, most: int = 10) -> Figure | None:
    """What the published model goes by: its strongest weights for fraud and against it."""
    ranked = sorted(outcome.model.get("weights", {}).items(), key=lambda item: -item[1])
    strongest = [item for item in ranked[:most] if item[1] > 0] + [item for item in ranked[-most:] if item[1] < 0]
    return _bars([(feature_text(name), value) for name, value in strongest], "weight (logit)", signed=True)


def dead_letters(outcome: Outcome) -> Figure | None:
    """Unusable messages by reason."""
    return _bars([(_words(reason), count) for reason, count in outcome.dead.most_common()], "messages")


def _bars(items: Sequence[tuple[str, float]], title: str, signed: bool = False) -> Figure | None:
    if not items:
        return None
    names, values = [name for name, _ in reversed(items)], [value for _, value in reversed(items)]
    colours = [(RED if value > 0 else GREEN) if signed else GREY for value in values]
    plot = figure(height=70 + 22 * len(items), bargap=0.25)
    plot.add_bar(
        y=names,
        x=values,
        orientation="h",
        marker={"color": colours},
        showlegend=False,
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
    )
    plot.update_xaxes(title=title)
    plot.update_layout(hovermode="closest")
    return plot


def _words(name: str) -> str:
    return name.replace("_", " ")


def _of(outcome: Outcome, measurement: str) -> list[Measured]:
    return [point for point in outcome.measured if point.measurement == measurement]


def _pipeline(outcome: Outcome) -> list[Measured]:
    """One point a second, the last word on each; the first second, in which one message tried the way, left out."""
    latest = {point.time: point for point in _of(outcome, "pipeline") if not point.tags.get("reason")}
    begin = _begin(outcome)
    return [point for time, point in sorted(latest.items()) if time >= begin - 999]


def _begin(outcome: Outcome) -> int:
    return (
        outcome.alerts[0].arrived_at if outcome.alerts else min((point.time for point in outcome.measured), default=0)
    )
