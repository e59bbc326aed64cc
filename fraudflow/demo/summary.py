"""The demo's result in words and tables."""

from collections import Counter

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fraudflow.demo.outcome import Outcome


def show(outcome: Outcome, console: Console) -> None:
    """Prints the summary: at most 80 columns wide."""
    transactions = outcome.transactions
    console.print(
        Text.assemble(
            ("In   ", "bold"),
            f"{outcome.messages:,} messages: {transactions:,} transactions "
            f"({', '.join(f'{count:,} {name}' for name, count in outcome.formats.most_common())}), "
            f"{outcome.dead.total() - outcome.dead_labels:,} unusable; "
            f"{outcome.labels - outcome.dead_labels:,} labels, {outcome.dead_labels:,} more unusable",
        )
    )
    frauds = sum(outcome.is_fraud(alert) for alert in outcome.alerts)
    console.print(
        Text.assemble(
            ("Out  ", "bold"),
            f"{len(outcome.alerts):,} alerts ({frauds:,} of known frauds), {outcome.dead.total():,} dead letters, "
            f"model version {outcome.model.get('version', 'none')}, {len(outcome.drifts)} drift events",
        )
    )
    if outcome.lost:
        console.print(f"[dim]The embedded broker keeps little: {outcome.lost:,} messages were gone by now.[/dim]")
    left = _counts("Alerts by rule", outcome.rules, _right(outcome))
    right = _counts("Dead letters by reason", outcome.dead)
    if console.width >= 80:
        grid = Table.grid(padding=(0, 4))
        grid.add_row(left, right)
        console.print(Padding(grid, (1, 0, 0, 0)))
    else:
        console.print(Group(left, right))
    console.print(_scenarios(outcome))
    console.print(Text.assemble(("What the model added  ", "bold"), added(outcome)))


def added(outcome: Outcome) -> str:
    """What the score found that no rule did, and what it cost."""
    only = [alert for alert in outcome.alerts if not alert.rules]
    found = sum(outcome.is_fraud(alert) for alert in only)
    if not outcome.model:
        return "nothing: no model was published"
    return (
        f"{found:,} frauds that no rule found, for {len(only) - found:,} false alarms of its own "
        f"(the rules: {_false_alarms(outcome):,})"
    )


def by_scenario(outcome: Outcome) -> dict[str, Counter[str]]:
    """Known frauds by scenario and by what found them (`rules`, `both`, `model`, or empty for missed)."""
    table: dict[str, Counter[str]] = {}
    for fraud in outcome.frauds():
        table.setdefault(fraud.scenario, Counter())[fraud.caught_by] += 1
    return dict(sorted(table.items()))


def _false_alarms(outcome: Outcome) -> int:
    return sum(bool(alert.rules) and not outcome.is_fraud(alert) for alert in outcome.alerts)


def _right(outcome: Outcome) -> Counter[str]:
    return Counter(
        rule for alert in outcome.alerts if outcome.is_fraud(alert) for rule in alert.rules or ("model only",)
    )


def _counts(title: str, counts: Counter[str], right: Counter[str] | None = None) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("count", justify="right")
    if right is not None:
        table.add_column("fraud", justify="right")
    for name, count in counts.most_common():
        table.add_row(name, f"{count:,}", *([f"{right[name]:,}"] if right is not None else []))
    return table


def _scenarios(outcome: Outcome) -> Table:
    table = Table(
        title="Known frauds, and what found them",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    table.add_column("scenario", no_wrap=True)
    for name in ("frauds", "found", "rules", "both", "model", "missed"):
        table.add_column(name, justify="right", no_wrap=True)
    total: Counter[str] = Counter()
    for scenario, counts in by_scenario(outcome).items():
        total += counts
        table.add_row(scenario, *_cells(counts))
    table.add_section()
    table.add_row("all", *_cells(total), style="bold")
    return table


def _cells(counts: Counter[str]) -> list[str]:
    everything = counts.total()
    found = everything - counts[""]
    share = f"{found / everything:.0%}" if everything else "–"
    return [
        f"{everything:,}",
        f"{found:,} ({share})",
        f"{counts['rules']:,}",
        f"{counts['both']:,}",
        f"{counts['model']:,}",
        f"{counts['']:,}",
    ]
