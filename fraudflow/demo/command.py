"""`python -m fraudflow demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    seconds: Annotated[float, typer.Option(help="How long the feeding takes.", min=1)] = 50.0,
    share: Annotated[float, typer.Option(help="How much of the feed is sent.", min=0.01, max=1)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the simulated part.")] = 7,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Go on with simulated traffic until Ctrl-C.")
    ] = False,
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("reports/demo.html"),
) -> None:
    """See it all at work: no Docker, no server, nothing to set up.

    Starts an embedded broker and the flow that production runs, sends it 19,999 real PaySim transactions woven with
    20,000 simulated ones that hold known frauds, shows it live, ends by itself, and writes a report.

    Example: `python -m fraudflow demo --seconds 20`
    """
    # Its imports take a second, which `--help` should not.
    from rich.console import Console

    from fraudflow.demo.run import Demo
    from fraudflow.evaluation.writable import require_file

    try:
        require_file(report, "--report")
    except ValueError as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(1) from None
    console = Console()
    run = Demo(console, seconds=seconds, share=share, seed=seed, keep_running=keep_running, report=report)
    raise typer.Exit(run.run())
