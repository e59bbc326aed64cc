"""`fraudflow model list` and `show`: what the models' topic holds, as tables or JSON."""

import json
from typing import Annotated, Any

import typer

from flows.settings import Settings
from operators.model.registry import Registry
from operators.model.scoring import Weights
from operators.times import iso

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
MEASURED = ("log_loss", "roc_auc", "average_precision", "precision", "recall")
COLUMNS = ("version", "published", "examples", "frauds", *MEASURED)


def list_models(as_json: AsJson = False) -> None:
    """Every model: which one decides, the version in force, whether it is frozen and why.

    Example: `python -m fraudflow model list`
    """
    from fraudflow.models.topic import champion, read_registry, told

    settings = Settings.load()
    with told():
        registry = read_registry(settings)
        decides = champion(settings, registry)
        found = [_summary(registry, name, decides) for name in registry.names]
    if as_json:
        typer.echo(json.dumps({"rules_only": registry.rules_only, "models": found}, indent=2))
        return
    if not found:
        typer.echo(f"{settings.model_topic} holds no model yet: the flow publishes the first ones")
        return
    _summary_table(found)
    if registry.rules_only:
        typer.echo("The rules alone decide: `fraudflow model resume` lets scores decide again.")


def show(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[int | None, typer.Option(help="A kept version; without it the one in force.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """One model: the versions that it can be rolled back to, and the weights in force.

    Example: `python -m fraudflow model show fraud-lr`
    """
    from fraudflow.models.topic import champion, read_registry, told

    settings = Settings.load()
    with told():
        registry = read_registry(settings)
        weights = registry.in_force(name) if version is None else registry.version(name, version)
        kept = registry.kept(name)
        summary = _summary(registry, name, champion(settings, registry))
    if as_json:
        versions = [_measured(one) for one in kept]
        typer.echo(json.dumps({**summary, "kept": versions, "weights": json.loads(weights.to_json())}, indent=2))
        return
    _summary_table([summary])
    typer.echo(f"\nversions to roll back to ({len(kept)}):")
    _table([*COLUMNS], [_shown(_measured(one)) for one in kept])
    typer.echo(
        f"\nversion {weights.version}, bias {weights.bias:+.4f}, the strongest of {len(weights.weights)} weights:"
    )
    strongest = sorted(weights.weights.items(), key=lambda item: (-abs(item[1]), item[0]))[:20]
    _table(["feature", "weight"], [[feature, f"{weight:+.4f}"] for feature, weight in strongest])


def _summary(registry: Registry, name: str, champion: str | None) -> dict[str, Any]:
    control = registry.frozen(name)
    frozen = control and {"by": control.by, "reason": control.reason, "at": iso(control.at), "action": control.action}
    role = "champion" if name == champion else "challenger"
    return {"model": name, "role": role, **_measured(registry.in_force(name)), "frozen": frozen or None}


def _measured(weights: Weights) -> dict[str, Any]:
    trained, published = weights.trained_on, iso(weights.published_at)
    counts = {
        "version": weights.version,
        "published": published,
        "examples": trained.examples,
        "frauds": trained.frauds,
    }
    return {**counts, **{name: weights.metrics.get(name) for name in MEASURED}}


def _shown(one: dict[str, Any]) -> list[str]:
    """Version, publication, counts and quality as texts."""
    measured = ["–" if one[name] is None else f"{one[name]:.4f}" for name in MEASURED]
    return [str(one["version"]), one["published"][:19] + "Z", f"{one['examples']:,}", f"{one['frauds']:,}", *measured]


def _summary_table(found: list[dict[str, Any]]) -> None:
    rows = []
    for one in found:
        frozen = one["frozen"]
        told = f"{frozen['action']} by {frozen['by']} at {frozen['at'][:19]}Z: {frozen['reason']}" if frozen else "no"
        rows.append([one["model"], one["role"], *_shown(one), told])
    _table(["model", "role", *COLUMNS, "frozen"], rows)


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        text = column in {"model", "role", "frozen", "feature"}
        table.add_column(column, justify="left" if text else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
