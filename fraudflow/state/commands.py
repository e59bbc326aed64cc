"""`fraudflow state inspect`, `user`, `verify`, `reset`. All but `reset` may be used while the flow runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flows.settings import Settings

Directory = Annotated[
    Path,
    typer.Argument(envvar="BYTEWAX_RECOVERY_DIRECTORY", help="The recovery directory.", show_default=True),
]
RECOVERY = Path("recovery")


def inspect(directory: Directory = RECOVERY) -> None:
    """What is kept for each step: how many keys, how many bytes, and how old its snapshots are.

    Example: `python -m fraudflow state inspect recovery`
    """
    from fraudflow.state.showing import show_steps

    with _told(directory):
        show_steps(directory)


def user(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The user's id, as it is in the messages.")],
    directory: Directory = RECOVERY,
) -> None:
    """The windows of one user: the events that are kept, and the features as of the last of them.

    The features are those of the rules and the model that the settings name.

    Example: `python -m fraudflow state user C1231006815 recovery`
    """
    from fraudflow.state.reading import Kept
    from fraudflow.state.showing import show_user

    with _told(directory):
        found = show_user(Kept(directory, Settings.load()), identity)
    if not found:
        typer.echo(f"{directory} keeps no event of user {identity}", err=True)
        raise typer.Exit(1)


def verify(directory: Directory = RECOVERY) -> None:
    """Read all state that a restart would read, and check every checksum. Exit code 1 where something is wrong.

    Example: `python -m fraudflow state verify recovery`
    """
    from connectors.recovery_rows import resume
    from connectors.redo.named import verify as verify_files

    with _told(directory):
        states, kept = verify_files(directory), resume(directory)
    typer.echo(f"{directory} is whole: {states} states with their files, {len(kept.rows)} in all, epoch {kept.epoch}")


def reset(
    directory: Directory = RECOVERY,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give up all that is kept: offsets, windows, pending labels, the model. The next run begins anew.

    Alerts that are in their topic already are still not written again. Refused while a run has the directory.

    Example: `python -m fraudflow state reset recovery --yes`
    """
    from connectors.recovery import lock
    from connectors.recovery import reset as empty
    from fraudflow.state.showing import size_of

    with _told(directory):
        lock(directory, 0)
        size = size_of(directory)
        if not yes:
            typer.confirm(f"Give up all state in {directory} ({size:,} bytes)? It can't be undone", abort=True)
        empty(directory)
    typer.echo(f"{directory} is empty: the next run begins anew")


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """What is wrong with the directory is told without a traceback, with exit code 1."""
    from connectors.recovery import RecoveryRefused
    from operators.features.state import StateError
    from operators.model.specification import ModelError
    from operators.rules import RuleError

    if not any(directory.glob("part-*.sqlite3")):
        typer.echo(f"{directory} is no recovery directory: no run has kept anything there", err=True)
        raise typer.Exit(1)
    try:
        yield
    except (RecoveryRefused, StateError, RuleError, ModelError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
