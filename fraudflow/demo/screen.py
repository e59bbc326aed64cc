"""The demo in the terminal: one picture, drawn anew from the board. Works from 80 columns and 24 lines on."""

from datetime import UTC, datetime
from typing import NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fraudflow.demo.board import Board
from fraudflow.demo.records import Alert, feature_text, money, value_text

WIDE = 110
# Lines that everything but the table of alerts takes.
FIXED = 14
SEVERITY = {"low": "dim", "medium": "yellow", "high": "dark_orange", "critical": "bold red"}


class Progress(NamedTuple):
    """How far the demo is. `clock` is the event time of what was sent last; `phase` says what it is doing."""

    phase: str
    seconds: float
    sent: int
    total: int
    clock: int


def picture(board: Board, progress: Progress, width: int, height: int) -> RenderableType:
    """The whole picture, at most `width` columns and `height` lines."""
    wide = width >= WIDE
    return Group(_head(progress, width), _figures(board, wide), _alerts(board, wide, height - FIXED))


def line(board: Board, progress: Progress) -> str:
    """The same in one line, for where there is no terminal."""
    transactions, alerts = board.rates()
    latency = board.latency()
    parts = [
        f"{progress.seconds:5.1f} s {progress.phase}",
        f"{progress.sent / max(1, progress.total):.0%} sent",
        f"{transactions:,} transactions/s",
        f"{alerts:,} alerts/s",
        f"latency p50 {latency[0]} ms p99 {latency[1]} ms" if latency else "no alert yet",
    ]
    if board.window:
        window = board.window
        parts.append(
            f"last 30 s: {window['count']:,}, {window['frauds']:,} suspicious, "
            f"{window['fraud_share']:.1%} of {money(window['amount'])}"
        )
    if board.quality:
        parts.append(f"model v{board.model_version} ROC AUC {_score(board.quality.get('roc_auc'))}")
    parts.append(f"drift {board.drifts}")
    parts.append(f"dead letters {board.dead.total()}")
    return " | ".join(parts)


def _head(progress: Progress, width: int) -> RenderableType:
    share = progress.sent / max(1, progress.total)
    clock = datetime.fromtimestamp(progress.clock / 1000, UTC).strftime("%H:%M")
    title = Text.assemble(
        (" fraudflow ", "bold white on dark_blue"), f"  {progress.phase}", (f"  {progress.seconds:.0f} s", "dim")
    )
    sent = f"{progress.sent:,} of {progress.total:,}" if width >= WIDE else f"{share:.0%}"
    right = Text(f"{sent}   event time {clock} ", style="dim")
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(title, right)
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=1.0, completed=min(1.0, share), complete_style="dark_blue"))
    return Group(grid, bar)


def _figures(board: Board, wide: bool) -> RenderableType:
    transactions, alerts = board.rates()
    latency = board.latency()
    flow = _panel(
        "Flow",
        ("transactions/s", f"{transactions:,}"),
        ("alerts/s", f"{alerts:,}"),
        ("latency p50", f"{latency[0]:,} ms" if latency else "–"),
        ("        p99", f"{latency[1]:,} ms" if latency else "–"),
        ("dead letters", _dead(board, wide)),
    )
    window = board.window
    amount, suspicious = window.get("amount", 0.0), window.get("fraud_amount", 0.0)
    seconds = _panel(
        "Last 30 seconds",
        ("transactions", f"{window.get('count', 0):,}"),
        ("frauds", f"{window.get('frauds', 0):,}"),
        ("amount", money(amount)),
        ("suspicious", money(suspicious)),
        ("share", f"{window.get('fraud_share', 0.0):.1%}"),
    )
    quality = board.quality
    version = f"v{board.model_version}" if board.model_version is not None else "none yet"
    examples = f"{quality.get('examples', 0):,} labelled, {quality.get('frauds', 0):,} frauds" if wide else version
    drift = Text(f"{board.drifts} found" if board.drifts else "none", style="bold red" if board.drifts else "green")
    model = _panel(
        f"Model {version}" if wide else "Model",
        ("learned", examples) if wide else ("version", version),
        ("ROC AUC", _score(quality.get("roc_auc"))),
        ("avg. precision", _score(quality.get("average_precision"))),
        ("log-loss", _score(quality.get("log_loss"))),
        ("drift", drift),
    )
    grid = Table.grid(expand=True)
    for _ in range(3):
        grid.add_column(ratio=1)
    grid.add_row(flow, seconds, model)
    return grid


def _dead(board: Board, wide: bool) -> str:
    total = f"{board.dead.total():,}"
    if not wide or not board.dead:
        return total
    return f"{total}, {len(board.dead)} reasons"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _panel(title: str, *rows: tuple[str, str | Text]) -> Panel:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    for name, value in rows:
        grid.add_row(name, value if isinstance(value, Text) else Text(value, style="bold"))
    return Panel(grid, title=title, title_align="left", border_style="grey50", box=box.ROUNDED, padding=(0, 1))


def _alerts(board: Board, wide: bool, rows: int) -> RenderableType:
    if not board.alerts:
        return Text("\n waiting for the first alert", style="dim")
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    if wide:
        table.add_column("time", no_wrap=True, width=8)
    table.add_column("user", no_wrap=True, width=11)
    table.add_column("amount", justify="right", no_wrap=True, width=10)
    if wide:
        table.add_column("decision", no_wrap=True, width=8)
    table.add_column("rules", no_wrap=True, ratio=3, overflow="ellipsis")
    table.add_column("risk", justify="right", no_wrap=True, width=4)
    table.add_column("strongest reasons", no_wrap=True, ratio=4, overflow="ellipsis")
    if wide:
        table.add_column("", no_wrap=True, ratio=4, overflow="ellipsis")
    # Where the reasons have no room side by side, an alert takes two lines.
    for alert, count in board.newest_alerts(max(2, rows if wide else rows // 2)):
        table.add_row(*_row(alert, count, wide))
    return table


def _row(alert: Alert, count: int, wide: bool) -> list[Text]:
    clock = datetime.fromtimestamp(alert.event_time / 1000, UTC).strftime("%H:%M:%S")
    style = SEVERITY.get(alert.severity, "")
    because = reasons(alert, wide)
    times = f"×{count} " if count > 1 else ""  # first, for the end of many rules is cut off
    risk = Text("–", style="dim") if alert.risk_score is None else Text(f"{alert.risk_score:.2f}", style="bold")
    cells = [
        Text(alert.user_id),
        Text(money(alert.amount), style="bold"),
        Text(times + (", ".join(alert.rules) or "model"), style=style if alert.rules else "magenta"),
        risk,
        *(because if wide else [Text("\n").join(because)]),
    ]
    if wide:
        decision = Text(alert.decision, style="bold red" if alert.decision == "block" else "")
        cells = [Text(clock, style="dim"), *cells[:2], decision, *cells[2:]]
    return cells


def reasons(alert: Alert, wide: bool) -> list[Text]:
    """The two strongest reasons of the score, with what each added to its logit."""
    if not alert.reasons:
        return [Text("no model yet" if alert.risk_score is None else "none", style="dim"), Text()]
    texts = []
    for reason in (*alert.reasons, None, None)[:2]:
        text = Text()
        if reason is not None:
            text.append(f"{reason.contribution:+.1f} ", style="red" if reason.contribution > 0 else "green")
            text.append(feature_text(reason.feature))
            if wide and not isinstance(reason.value, bool) and reason.value not in (None, 1, 1.0):
                text.append(f" = {value_text(reason.value)}", style="dim")
        texts.append(text)
    return texts
