"""`fraudflow rules`: check the rules before the flow reads them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.settings import Settings
from operators.features.plan import Plan
from operators.rules import RuleError, load_rules

app = typer.Typer(no_args_is_help=True, help="Check the rules.")


@app.callback()
def group() -> None:
    """Check the rules."""


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="The rules; without it, those that FRAUD_RULES_FILE names.")
    ] = None,
) -> None:
    """Parse, resolve and compile every rule; tell what is wrong and where (exit code 1), or what the rules need.

    Example: `python -m fraudflow rules check rules.toml`
    """
    settings = Settings.load()
    path = file or settings.rules_file
    try:
        rules = load_rules(path)
        plan = Plan.of(rules.names, allowed_lateness=settings.allowed_lateness)
        rules.compile(plan.name)
    except ValueError as error:
        text = str(error) if isinstance(error, RuleError) else f"{path}: {error}"
        typer.echo(text, err=True)
        raise typer.Exit(1) from None
    table = Table("rule", "version", "severity", "decision", "cooldown", "mode", "uses", box=None, pad_edge=False)
    for rule in rules.rules:
        uses = ", ".join(rule.names)
        table.add_row(rule.id, str(rule.version), rule.severity, rule.decision, rule.cooldown, rule.mode, uses)
    console = Console()
    console.print(table)
    for entity in plan.entities:
        columns = ", ".join(entity.columns)
        console.print(f"windows by {entity.entity}: {columns or 'none'}", highlight=False)
    console.print(f"{len(rules.rules)} rules, no error", highlight=False)
