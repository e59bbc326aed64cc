"""`fraudflow model freeze`, `unfreeze`, `rollback`, `promote`, `rules-only`, `resume`.

Each writes one command to the models' topic: in force in every shard as soon as it is read, and after every restart.
"""

import time
from typing import Annotated

import typer

from flows.settings import Settings
from operators.model.control import Action

Name = Annotated[str, typer.Argument(help="The model's name.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it is told with the event.")]
By = Annotated[str, typer.Option(help="Who decided it; without it the user of this system.")]


def freeze(name: Name, reason: Reason, by: By = "") -> None:
    """Keep scoring with the version in force; what the model learns on is not published.

    Example: `python -m fraudflow model freeze fraud-lr --reason "labels look wrong since noon"`
    """
    _give("freeze", name, None, reason, by)


def unfreeze(name: Name, reason: Reason, by: By = "") -> None:
    """Publish again what the model learns, at once what it has learned meanwhile.

    Example: `python -m fraudflow model unfreeze fraud-lr --reason "labels are corrected"`
    """
    _give("unfreeze", name, None, reason, by)


def rollback(
    name: Name,
    version: Annotated[int, typer.Argument(help="A kept version: `fraudflow model show NAME` lists them.", min=1)],
    reason: Reason,
    by: By = "",
) -> None:
    """Score with an older version, frozen; the trainer forgets what it learned since.

    Example: `python -m fraudflow model rollback fraud-lr 96 --reason "false alarms since version 97"`
    """
    _give("rollback", name, version, reason, by)


def promote(name: Name, reason: Reason, by: By = "") -> None:
    """Let this model decide; the one before goes on beside it.

    Example: `python -m fraudflow model promote fraud-ftrl --reason "better for two weeks"`
    """
    _give("promote", name, None, reason, by)


def rules_only(reason: Reason, by: By = "") -> None:
    """Let the rules alone decide; the models score and learn on, without effect.

    Example: `python -m fraudflow model rules-only --reason "an attack on the labels"`
    """
    _give("rules_only", "", None, reason, by)


def resume(reason: Reason, by: By = "") -> None:
    """Let scores decide again, after `rules-only`.

    Example: `python -m fraudflow model resume --reason "labels are corrected"`
    """
    _give("resume", "", None, reason, by)


def _give(action: Action, name: str, version: int | None, reason: str, by: str) -> None:
    from fraudflow.models.topic import read_registry, told, user, write

    settings = Settings.load()
    with told():
        registry = read_registry(settings)
        at = time.time_ns() // 1_000_000
        control = registry.command(action, name, version, by=by or user(), reason=reason, at=at)
        write(settings, control)
    said = f"{action.replace('_', ' ')} {name}".strip()
    if control.weights is not None:
        said += f" at version {control.weights.version}"
    typer.echo(f"{said}: written to {settings.model_topic}; the flow tells of it on {settings.model_event_topic}")
