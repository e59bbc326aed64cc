"""`fraudflow topology`: the picture of the flow."""

import sys
from typing import Annotated

import typer


def topology(
    every_step: Annotated[bool, typer.Option("--all", help="Steps that only reshape or route batches, too.")] = False,
) -> None:
    """The topology, as the settings, the rules and the model make it, in Mermaid: what GitHub and many editors draw.

    Example: `python -m fraudflow topology --all`
    """
    from flows.drawing import drawing
    from flows.settings import Settings
    from flows.starting import REFUSALS

    try:
        sys.stdout.write(drawing(Settings.load(), every_step=every_step))
    except REFUSALS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
