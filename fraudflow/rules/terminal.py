"""A backtest as tables in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from operators.times import parse_time

Found = dict[str, Any]


def show(found: Found) -> None:
    """What was found, for people."""
    console = Console()
    console.print(
        f"{found['transactions']:,} transactions over {found['days']:,.1f} days, {found['frauds']:,} of them frauds "
        f"({money(found['fraud_amount'])} of {money(found['amount'])})",
        highlight=False,
    )
    if found["rejected"]:
        console.print(f"not usable: {', '.join(f'{n:,} {reason}' for reason, n in found['rejected'].items())}")
        for reason, first in found["first_rejected"].items():
            console.print(f"  first {reason}: {first}", markup=False, highlight=False, soft_wrap=True)
    for name in ("rules", "against"):
        if found[name]:
            console.print()
            _trial(console, found[name])
            for line in warming_up(found, found[name]):
                console.print(f"windows warming up: {line}", highlight=False, soft_wrap=True)
    if found["against"]:
        console.print()
        _changes(console, found)


def _trial(console: Console, trial: Found) -> None:
    table = Table(title=trial["file"], title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("rule", overflow="fold", min_width=12)  # what gives way where the terminal is narrow
    for name in ("hits", "a day", "frauds", "precision", "recall", "caught", "bothered"):
        table.add_column(name, justify="right", no_wrap=True)
    for rule in trial["by_rule"]:
        shown = rule["id"] + (" (shadow)" if rule["mode"] == "shadow" else "")
        table.add_row(shown, *figures(rule, rule["hits_a_day"]))
    table.add_section()
    table.add_row("all decisions", *figures(trial["decisions"], trial["alerts_a_day"]))
    console.print(table)
    pairs = sorted(
        ((count, one, other) for one, row in trial["overlap"].items() for other, count in row.items() if one < other),
        reverse=True,
    )
    common = ", ".join(f"{one} and {other} {count:,}" for count, one, other in pairs[:5] if count)
    if common:
        console.print(f"hits in common: {common}", highlight=False)
    decisions = trial["decisions"]
    console.print(
        f"{decisions['review']:,} reviewed, {decisions['block']:,} blocked; "
        f"{trial['alerts']:,} alerts after cooldowns, {trial['alerts_a_day']:,.1f} a day",
        highlight=False,
    )


def warming_up(found: Found, trial: Found) -> list[str]:
    """Rules whose windows fill within more than a tenth of the history, or at whose hits they were not full."""
    begins, ends = (parse_time(found[end]) for end in ("from", "to"))
    lines = []
    for rule in trial["by_rule"]:
        until = parse_time(rule["full_from"]) if rule["full_from"] else begins
        if until - begins > (ends - begins) / 10 or rule["hits_warming_up"]:
            when = f"{rule['full_from'][:16]}{', after the end of the history' if until > ends else ''}"
            lines.append(f"{rule['id']} until {when}: {rule['hits_warming_up']:,} of its {rule['hits']:,} hits")
    return lines


def figures(measured: Found, a_day: float) -> list[str]:
    """Hits, hits a day, frauds, precision, recall, money caught and bothered, as texts."""
    return [
        f"{measured['hits']:,}",
        f"{a_day:,.1f}",
        f"{measured['frauds']:,}",
        percent(measured["precision"]),
        percent(measured["recall"]),
        money(measured["caught"]),
        money(measured["bothered"]),
    ]


def _changes(console: Console, found: Found) -> None:
    if not found["changes"]:
        console.print("no decision changes")
        return
    table = Table(title="decisions that change", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("from → to")
    for name in ("transactions", "frauds", "fraud money", "legitimate money"):
        table.add_column(name, justify="right")
    for kind in found["changes"]:
        table.add_row(
            f"{kind['from']} → {kind['to']}",
            f"{kind['transactions']:,}",
            f"{kind['frauds']:,}",
            money(kind["fraud_amount"]),
            money(kind["legitimate_amount"]),
        )
    console.print(table)


def money(amount: float) -> str:
    """Short: 1,234 or 5.7 M or 2.1 bn."""
    for unit, name in ((1e9, " bn"), (1e6, " M")):
        if abs(amount) >= unit:
            return f"{amount / unit:,.1f}{name}"
    return f"{amount:,.0f}"


def percent(share: float | None) -> str:
    """With one place; what has no meaning is a dash."""
    return "–" if share is None else f"{share:.1%}"
