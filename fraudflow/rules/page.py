"""A backtest as one HTML file that needs nothing else."""

from collections.abc import Callable
from typing import Any

from fraudflow.pages import AMBER, BLUE, GREEN, RED, Figure, chart, figure, page, panel, panels, table
from fraudflow.rules.terminal import figures, money, warming_up

Found = dict[str, Any]


def backtest_page(found: Found) -> str:
    """The page."""
    about = (
        f"{found['transactions']:,} transactions of {found['file']}, {found['from'][:16]} to {found['to'][:16]}; "
        f"{found['frauds']:,} frauds of {money(found['fraud_amount'])}. Rules only, without the model."
    )
    sections = [
        panel(
            "Rules",
            f"Caught: money of frauds that were hit; bothered: money of the rest.{_warming(found)}",
            _rules(found),
            wide=True,
        )
    ]
    if found["against"]:
        sections.append(panel("Decisions that change", f"From {found['against']['file']}.", _changes(found), wide=True))
    sections += [_plotted(*section, found) for section in SECTIONS]
    title = f"Backtest of {found['rules']['file']}"
    return page(title, title, about, panels(sections))


def _plotted(title: str, about: str, plot: Callable[[Found], Figure | None], wide: bool, found: Found) -> str:
    drawn = plot(found)
    return "" if drawn is None else chart(title, about, drawn, wide=wide)


def _trials(found: Found) -> list[Found]:
    return [found[name] for name in ("rules", "against") if found[name]]


def _rules(found: Found) -> str:
    header = ["rule", "mode", "hits", "a day", "frauds", "precision", "recall", "caught", "bothered", "alone"]
    rows = []
    for trial in _trials(found):
        everything = {**trial["decisions"], "id": "all decisions", "mode": "", "hits_a_day": trial["alerts_a_day"]}
        behind = "" if trial is found["rules"] else f" ({trial['file']})"
        rows += [[f"{rule['id']}{behind}", *_cells(rule)] for rule in (*trial["by_rule"], everything)]
    return table(header, rows)


def _warming(found: Found) -> str:
    lines = dict.fromkeys(line for trial in _trials(found) for line in warming_up(found, trial))
    return f" Windows begin empty with the history; warming up: {'; '.join(lines)}." if lines else ""


def _cells(rule: Found) -> list[str]:
    return [
        rule["mode"],
        *figures(rule, rule["hits_a_day"]),
        f"{rule['alone']:,}" if "alone" in rule else "",
    ]


def _changes(found: Found) -> str:
    if not found["changes"]:
        return "<p>No decision changes.</p>"
    header = ["from → to", "transactions", "frauds", "fraud money", "legitimate money"]
    rows = [
        [
            f"{kind['from']} → {kind['to']}",
            f"{kind['transactions']:,}",
            f"{kind['frauds']:,}",
            money(kind["fraud_amount"]),
            money(kind["legitimate_amount"]),
        ]
        for kind in found["changes"]
    ]
    return table(header, rows)


def _by_rule(found: Found) -> list[Found]:
    return [rule for rule in found["rules"]["by_rule"] if rule["hits"]]


def precision_and_recall(found: Found) -> Figure | None:
    """A point a rule, as large as its hits are many."""
    rules = [rule for rule in _by_rule(found) if rule["precision"] is not None and rule["recall"] is not None]
    if not rules:
        return None
    most = max(rule["hits"] for rule in rules)
    plot = figure()
    plot.add_scatter(
        x=[rule["recall"] for rule in rules],
        y=[rule["precision"] for rule in rules],
        text=[rule["id"] for rule in rules],
        customdata=[rule["hits"] for rule in rules],
        mode="markers+text",
        textposition="top center",
        cliponaxis=False,
        marker={"size": [10 + 30 * (rule["hits"] / most) ** 0.5 for rule in rules], "color": BLUE, "opacity": 0.7},
        hovertemplate="%{text}: recall %{x:.1%}, precision %{y:.1%}, %{customdata:,} hits<extra></extra>",
        showlegend=False,
    )
    plot.update_layout(hovermode="closest")
    plot.update_xaxes(title="recall: share of all frauds", tickformat=".0%", rangemode="tozero")
    plot.update_yaxes(title="precision", tickformat=".0%", range=[-0.05, 1.12])
    return plot


def caught_and_bothered(found: Found) -> Figure | None:
    """Money of frauds and of the rest, by rule."""
    rules = _by_rule(found)
    if not rules:
        return None
    names = [rule["id"] for rule in rules]
    plot = figure(barmode="group")
    plot.add_bar(y=names, x=[rule["caught"] for rule in rules], name="caught", orientation="h", marker={"color": GREEN})
    plot.add_bar(
        y=names, x=[rule["bothered"] for rule in rules], name="bothered", orientation="h", marker={"color": AMBER}
    )
    plot.update_xaxes(title="money")
    plot.update_yaxes(autorange="reversed")
    plot.update_layout(hovermode="y unified")
    return plot


def alerts_by_day(found: Found) -> Figure | None:
    """Alerts after cooldowns, of both rule sets."""
    if not any(trial["alerts"] for trial in _trials(found)):
        return None
    plot = figure(barmode="group", bargap=0.1)
    for trial, colour in zip(_trials(found), (BLUE, RED), strict=False):
        by_day = trial["alerts_by_day"]
        plot.add_bar(x=list(by_day), y=list(by_day.values()), name=trial["file"], marker={"color": colour})
    plot.update_xaxes(type="date", tickformat="%d %b")
    plot.update_yaxes(title="alerts a day")
    return plot


def overlap(found: Found) -> Figure | None:
    """Which share of a rule's hits the other has too."""
    rules = _by_rule(found)
    if len(rules) < 2:
        return None
    names = [rule["id"] for rule in rules]
    common = found["rules"]["overlap"]
    shares = [[common[rule["id"]][other] / rule["hits"] for other in names] for rule in rules]
    counts = [[common[rule["id"]][other] for other in names] for rule in rules]
    plot = figure(height=120 + 40 * len(names))
    plot.add_heatmap(
        z=shares,
        x=names,
        y=names,
        customdata=counts,
        zmin=0,
        zmax=1,
        colorscale=[[0, "#eff6ff"], [1, BLUE]],
        texttemplate="%{z:.0%}",
        hovertemplate="%{z:.1%} of the hits of %{y} are hits of %{x} too: %{customdata:,}<extra></extra>",
        showscale=False,
    )
    plot.update_layout(hovermode="closest")
    plot.update_yaxes(autorange="reversed")
    return plot


# title, explanation, plot, full width
SECTIONS: tuple[tuple[str, str, Callable[[Found], Figure | None], bool], ...] = (
    ("Precision and recall", "Of labelled transactions; larger points hit more.", precision_and_recall, False),
    ("Money caught and bothered", "An amount counts for every rule that hits it.", caught_and_bothered, False),
    ("Alerts a day", "After cooldowns.", alerts_by_day, True),
    ("Overlap", "Of the hits of the rule at the left, the share that the rule below hits too.", overlap, True),
)
