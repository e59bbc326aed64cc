"""The demo's report: one HTML file that needs nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from flows.settings import Settings
from fraudflow.demo import plots
from fraudflow.demo.outcome import Outcome
from fraudflow.demo.page import ABOUT, ALERTS, SEARCH, STYLE
from fraudflow.demo.records import Alert, feature_text, money, value_text
from fraudflow.demo.summary import added
from fraudflow.pages import Figure, cards, chart, page, panels

TOP_ALERTS = 150

# title, explanation, plot, full width
SECTIONS: tuple[tuple[str, str, Callable[[Outcome], Figure | None], bool], ...] = (
    ("Alerts over time", "By rule, each second of the run.", plots.alerts_over_time, True),
    (
        "Known frauds",
        "What found them. A fraud is one transaction; the first of a burst cannot be told from an ordinary purchase.",
        plots.scenarios,
        True,
    ),
    ("Risk scores", "Of all alerts, by what the labels say. Logarithmic.", plots.scores, False),
    ("The model learns", "Predicted before learned, on mature labels, over the latest examples.", plots.quality, False),
    ("Throughput", "As the broker's timestamps have it.", plots.throughput, False),
    ("Latency", "From arrival at the broker. Logarithmic.", plots.latency, False),
    (
        "What the model goes by",
        "The strongest weights of the last version: red speaks for fraud.",
        plots.weights,
        False,
    ),
    (
        "Dead letters",
        "Messages that could not be used, by reason; the originals are on the dead-letter topic.",
        plots.dead_letters,
        False,
    ),
)


def write_report(outcome: Outcome, settings: Settings, path: Path) -> None:
    """Writes the report; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = [
        chart(title, about, plot(outcome), wide=wide, none="Nothing to show in this run.")
        for title, about, plot, wide in SECTIONS
    ]
    body = (
        f"{cards(_cards(outcome))}\n<p><b>What the model added:</b> {escape(added(outcome))}. {_drift(outcome)}</p>\n"
        f"{panels([*sections, _searchable(outcome, settings)])}\n{SEARCH}"
    )
    path.write_text(page("fraudflow: demo report", "fraudflow demo", ABOUT, body, STYLE), encoding="utf-8")


def _searchable(outcome: Outcome, settings: Settings) -> str:
    shown, total = min(TOP_ALERTS, len(outcome.alerts)), len(outcome.alerts)
    text = ALERTS.replace("{{shown}}", f"{shown:,}").replace("{{total}}", f"{total:,}")
    text = text.replace("{{review}}", f"{settings.review_threshold:g}")
    return text.replace("{{alerts}}", _alerts(outcome))  # last, for it may hold anything


def _cards(outcome: Outcome) -> list[tuple[str, str]]:
    frauds = outcome.frauds()
    found = sum(bool(fraud.caught_by) for fraud in frauds)
    latencies = sorted(alert.latency for alert in outcome.alerts)
    figures = [
        ("transactions", f"{outcome.transactions:,}"),
        ("alerts", f"{len(outcome.alerts):,}"),
        ("known frauds found", f"{found:,} of {len(frauds):,}"),
        ("dead letters", f"{outcome.dead.total():,}"),
        ("model version", str(outcome.model.get("version", "none"))),
        ("drift events", str(len(outcome.drifts))),
    ]
    if latencies:
        p99 = latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))]
        figures.insert(3, ("ms to the alert, p50 / p99", f"{latencies[len(latencies) // 2]:,} / {p99:,}"))
    return figures


def _drift(outcome: Outcome) -> str:
    if not outcome.drifts:
        return "No drift was found."
    return "Drift: " + "; ".join(f"{escape(event.at[11:16])} {escape(event.message)}" for event in outcome.drifts) + "."


def _alerts(outcome: Outcome) -> str:
    """The worst first: by risk score, then by amount."""
    worst = sorted(outcome.alerts, key=lambda alert: (-(alert.risk_score or 0.0), -alert.amount))[:TOP_ALERTS]
    largest = max((abs(reason.contribution) for alert in worst for reason in alert.reasons), default=1.0)
    return "".join(_alert(alert, outcome, largest) for alert in worst)


def _alert(alert: Alert, outcome: Outcome, largest: float) -> str:
    clock = datetime.fromtimestamp(alert.event_time / 1000, UTC).strftime("%H:%M:%S")
    scenario = outcome.scenarios.get(alert.transaction_id)
    truth = (
        f'<i class="fraud">{escape(scenario.replace("_", " "))}</i>'
        if scenario
        else '<i class="legit">no fraud known</i>'
    )
    rules = "".join(
        f'<span class="rule {escape(alert.severity)}" title="{escape(text)}">{escape(rule)}</span>'
        for rule, text in zip(alert.rules, alert.messages, strict=True)
    )
    reasons = "".join(
        f'<div class="reason"><em style="width:{64 * abs(reason.contribution) / largest:.0f}px" '
        f'class="{"up" if reason.contribution > 0 else "down"}"></em>{reason.contribution:+.2f} '
        f"{escape(feature_text(reason.feature))}{_value(reason.value)}</div>"
        for reason in alert.reasons[:3]
    )
    score = "–" if alert.risk_score is None else f"{alert.risk_score:.3f}"
    return (
        f"<tr><td>{clock}</td><td>{escape(alert.user_id)}</td>"
        f"<td class='n'>{money(alert.amount)} {escape(alert.currency)}</td>"
        f"<td class='n'><b>{score}</b></td><td>{escape(alert.decision)}</td>"
        f"<td>{rules or '<span class=rule>model</span>'}</td><td>{reasons}</td><td>{truth}</td></tr>"
    )


def _value(value: object) -> str:
    if isinstance(value, bool) or value in (None, 1, 1.0):
        return ""
    return f" <small>= {escape(value_text(value))}</small>"
