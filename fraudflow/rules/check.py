"""`fraudflow rules check`: what is wrong with the rules, what is hardly meant, and what they need."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.settings import Settings
from operators.rules import Rule

if TYPE_CHECKING:
    from operators.features.fields import Fields


def check(
    file: Annotated[
        Path | None, typer.Argument(help="The rules; without it, those that FRAUD_RULES_FILE names.")
    ] = None,
) -> None:
    """Read, resolve and compile every rule, run its examples, and tell what the rules need.

    Every error is told with its place in the file, and makes the exit code 1. What is hardly meant (a rule that is
    never true, always true, or implied by another) is a warning. The flow itself does not run the examples.

    Example: `python -m fraudflow rules check rules.toml`
    """
    from flows.parts import limits, model_beside
    from operators.features.passes import unused
    from operators.features.plan import known_in
    from operators.model.specification import ModelError
    from operators.rules.checking import check_rules
    from operators.rules.examples import run_examples
    from operators.rules.lint import lint

    settings = Settings.load()
    path = file or settings.rules_file
    text = _read(path)
    try:
        model = model_beside(settings)
    except ModelError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    rules, problems, fields = check_rules(text, model.fields if model else ())
    for problem in problems:
        typer.echo(problem.shown(str(path), text), err=True)
    failures = [
        failure for rule in rules for failure in run_examples(rule, settings.allowed_lateness, limits(settings), fields)
    ]
    for failure in failures:
        wanted = f"rule {failure.rule!r}: example {failure.number} does not hold"
        typer.echo(f"{path}: {wanted}: {failure.message}", err=True)
    for warned in lint(rules, known_in(fields)):
        typer.echo(f"{path}: warning: rule {warned.rule!r} {warned.message}", err=True)
    names = [name for rule in rules for name in rule.names]
    for name in unused([*names, *(model.names if model else ())], fields):
        typer.echo(f"{path}: warning: field {name!r} is used by no rule, and not by the model", err=True)
    if not rules and not problems:
        typer.echo(f"{path}: warning: there is no rule in it", err=True)
    if problems or failures:
        raise typer.Exit(1)
    _show(rules, settings.allowed_lateness, fields)


def _read(path: Path) -> str:
    from operators.files import Unreadable, read_text

    try:
        return read_text(path)
    except Unreadable as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)


def _show(rules: Sequence[Rule], allowed_lateness: int, fields: "Fields") -> None:
    from rich.console import Console
    from rich.table import Table

    from fraudflow.rules.footprint import EVENTS, footprint
    from operators.expressions import parse
    from operators.features.plan import Plan

    table = Table(box=None, pad_edge=False)
    for name in ("rule", "version", "severity", "decision", "cooldown", "mode"):
        table.add_column(name, no_wrap=True)
    table.add_column("uses", overflow="fold")
    for rule in rules:
        uses = ", ".join((*rule.names, *(f'list("{name}")' for name in parse(rule.when).lists)))
        version = str(rule.version)
        table.add_row(rule.id, version, rule.severity, rule.decision, rule.cooldown, rule.mode, uses)
    console = Console()
    console.print(table)
    names = (name for rule in rules for name in rule.names)
    plan = Plan.of(names, allowed_lateness=allowed_lateness, fields=fields)
    for entity in plan.entities:
        if not entity.columns:
            continue
        memory, state = footprint(entity)
        console.print(
            f"windows by {entity.entity}: {', '.join(entity.columns)}; about {memory:,.0f} bytes of memory a "
            f"{entity.entity} with {EVENTS} events in them, {state:,.0f} in a snapshot",
            highlight=False,
            soft_wrap=True,
        )
    if not plan.columns:
        console.print("windows: none", highlight=False)
    examples = sum(len(rule.examples) for rule in rules)
    console.print(f"{len(rules)} rules, {examples} examples, no error", highlight=False)
