"""The manner of all reports: one HTML file that needs nothing else, its panels, and the figures in them."""

from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

INK, GREY, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, RED, GREEN, AMBER, VIOLET = "#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed"
Figure = Any

STYLE = """
:root { --ink: #1f2933; --grey: #616e7c; --line: #e4e7eb; --back: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0; }
header p, .panel > p { color: var(--grey); margin: 4px 0 12px; }
header p { max-width: 860px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0; }
.card, .panel { background: white; border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 16px; }
.card b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card span { color: var(--grey); font-size: 13px; }
.panels { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.panel { padding: 18px 20px; min-width: 0; }
.wide { grid-column: 1 / -1; }
.none { padding: 40px 0; text-align: center; }
.scroll { overflow-x: auto; }
@media (max-width: 900px) { .panels { grid-template-columns: 1fr; } }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; white-space: nowrap; color: var(--grey); font-weight: 500; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
"""


def page(title: str, heading: str, about: str, body: str, style: str = "") -> str:
    """A whole page. `title`, `heading` and `about` are texts, `body` is HTML; `style` comes after that of all pages."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n<script>{get_plotlyjs()}</script>\n</head>\n"
        f"<body>\n<main>\n<header><h1>{escape(heading)}</h1><p>{escape(about)}</p></header>\n{body}\n</main>\n</body>\n"
        "</html>\n"
    )


def cards(figures: list[tuple[str, str]]) -> str:
    """The row of (name, value) at the top."""
    made = (f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in figures)
    return f'<div class="cards">{"".join(made)}</div>'


def panels(sections: list[str]) -> str:
    """Sections side by side."""
    return f'<div class="panels">{"".join(sections)}</div>'


def panel(title: str, about: str, body: str, *, wide: bool) -> str:
    """A section; `body` is HTML."""
    width = " wide" if wide else ""
    return f'<section class="panel{width}"><h2>{escape(title)}</h2><p>{escape(about)}</p>{body}</section>'


def chart(title: str, about: str, drawn: Figure | None, *, wide: bool = False, none: str = "Nothing to show.") -> str:
    """A section with a figure; it has an id made of its title, so that the same figure gives the same bytes."""
    if drawn is None:
        return panel(title, about, f'<p class="none">{escape(none)}</p>', wide=wide)
    body = drawn.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
        div_id=title.lower().replace(" ", "-"),
    )
    return panel(title, about, body, wide=wide)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of texts, the first column to the left, figures to the right."""
    head = "".join(f"<th{' class=n' * bool(n)}>{escape(name)}</th>" for n, name in enumerate(header))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' * bool(n)}>{escape(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(height: int = 320, hovermode: str = "x unified", **layout: Any) -> Figure:
    """An empty figure."""
    drawn = go.Figure()
    drawn.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
        font={"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": None},
        hovermode=hovermode,
        hoverlabel={"bgcolor": "white"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        **layout,
    )
    drawn.update_xaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True, title_standoff=8)
    drawn.update_yaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True, title_standoff=8)
    return drawn
