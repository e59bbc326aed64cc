"""`fraudflow evaluate`: what rules and model would have decided on a history."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from flows.settings import Settings
from fraudflow.options import in_words


def evaluate(
    file: Annotated[Path, typer.Argument(help="The history: CSV, JSON lines (either may be .gz) or Parquet.")],
    output: Annotated[Path, typer.Option(help="The folder for report.html, metrics.json and scores.csv.")] = Path(
        "reports/evaluate"
    ),
    label_delay: Annotated[
        str, typer.Option(help="How long after its transaction a label is known, such as 24h.")
    ] = "",
    start: Annotated[
        str, typer.Option("--from", help="Judge from this time on (ISO 8601); all before is learned from.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Judge up to this time (ISO 8601, not included).")] = "",
    rules: Annotated[Path | None, typer.Option(help="The rules; without it FRAUD_RULES_FILE.")] = None,
    model: Annotated[Path | None, typer.Option(help="The model; without it FRAUD_MODEL_FILE.")] = None,
    begin_with: Annotated[
        Path | None, typer.Option(help="A model that `fraudflow train` made: what scoring and learning begin with.")
    ] = None,
    capacity: Annotated[int, typer.Option(help="How many users analysts can look at in a day.", min=1)] = 100,
    costs: Annotated[
        str,
        typer.Option(help="Of a missed fraud (a number, or its amount), a review, a legitimate transaction blocked."),
    ] = "missed=amount,review=5,block=50",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Other rules, or another model: which decisions would change. Once for each."),
    ] = None,
) -> None:
    """Decide on a history in event-time order with the flow's own operators, predict before learn, and judge it.

    Writes report.html (curves, calibration, costs, weights, drift), metrics.json, scores.csv (a row for each
    transaction), and with --against changes.csv. The same file gives the same bytes.

    Example: `python -m fraudflow evaluate data/paysim_excerpt.csv.gz --label-delay 1h --output reports/paysim`
    """
    from rich.console import Console

    from fraudflow.evaluation.run import Request, run

    console = Console(stderr=True)
    settings = Settings.load()
    gc.disable()  # millions of rows, none of them in a circle: looking for some would take a fifth of the time
    try:
        files = {"rules": rules or settings.rules_file, "model": model or settings.model_file}
        request = Request(
            file, output, files, tuple(against or ()), begin_with, label_delay, start, end, capacity, costs
        )
        run(request, settings, console)
    except (ValueError, OSError) as error:
        console.print(in_words(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        gc.enable()
