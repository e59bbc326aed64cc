"""`fraudflow evaluate`: what rules and model would have decided on a history."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from flows.settings import Settings


def evaluate(
    file: Annotated[Path, typer.Argument(help="The history: CSV, JSON lines (either may be .gz) or Parquet.")],
    output: Annotated[Path, typer.Option(help="The folder for scores.csv and metrics.json.")] = Path(
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
) -> None:
    """Decide on a history in event-time order with the flow's own operators, predict before learn, and judge it.

    Writes scores.csv (a row for each transaction) and metrics.json. The same file gives the same bytes.

    Example: `python -m fraudflow evaluate data/paysim_excerpt.csv.gz --label-delay 1h --output reports/paysim`
    """
    from rich.console import Console
    from rich.progress import Progress

    from flows.fraud import limits
    from fraudflow.evaluation.history import HistoryError, read_history
    from fraudflow.evaluation.measures import measure
    from fraudflow.evaluation.replay import Judged, Replay
    from operators.decisions.decide import Thresholds
    from operators.durations import parse_duration
    from operators.model.specification import load_model
    from operators.rules import load_rules
    from operators.times import parse_time

    console = Console(stderr=True)
    settings = Settings.load()
    thresholds = Thresholds(settings.review_threshold, settings.block_threshold)
    try:
        delay = parse_duration(label_delay) if label_delay else settings.label_delay
        first = parse_time(start) if start else 0
        last = parse_time(end) if end else 2**62
        model_file = model or settings.model_file
        replay = Replay(
            load_rules(rules or settings.rules_file),
            load_model(model_file) if model_file else None,
            thresholds,
            label_delay=delay,
            label_maturity=max(delay, settings.label_maturity),
            allowed_lateness=settings.allowed_lateness,
        )
        with Progress(console=console, transient=True) as progress:
            reading = progress.add_task(f"reading {file.name}", total=None)
            history = read_history(file, limits(settings), lambda rows: progress.update(reading, completed=rows))
            progress.remove_task(reading)
            if not history.rows:
                raise HistoryError(
                    f"{file}: no usable row; {'; '.join(history.first_rejected.values()) or 'it is empty'}"
                )
            deciding = progress.add_task("deciding", total=len(history.rows))
            judged: list[Judged] = []
            for batch in replay.run(history.rows):
                judged += batch
                progress.advance(deciding, len(batch))
    except ValueError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None

    within = [one for one in judged if first <= one.event_time < last]
    metrics: dict[str, Any] = {
        "file": file.name,
        "rows": len(history.rows) + sum(history.rejected.values()),
        "rejected": history.rejected,
        "first_rejected": history.first_rejected,
        "from": start or None,
        "to": end or None,
        "label_delay_s": delay / 1000,
        **measure(within, thresholds),
        "model": _model(replay),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_scores(output / "scores.csv", within)
    write_json(output / "metrics.json", metrics)
    show(metrics, output)


def _model(replay: Any) -> dict[str, Any] | None:
    weights = replay.weights
    if weights is None:
        return None
    trained = {"examples": weights.trained_on.examples, "frauds": weights.trained_on.frauds}
    return {"name": weights.name, "version": weights.version, "trained_on": trained}


def write_scores(path: Path, judged: Sequence[Any]) -> None:
    """`scores.csv`: a row for each transaction, in event-time order; what is not known is empty."""
    from operators.times import iso

    with _whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["transaction_id", "event_time", "risk_score", "decision", "rules", "is_fraud"])
        for one in judged:
            score = "" if one.score is None else repr(one.score)
            fraud = "" if one.is_fraud is None else int(one.is_fraud)
            row = [one.transaction_id, iso(one.event_time), score, one.verdict, " ".join(one.rules), fraud]
            writer.writerow(row)


def write_json(path: Path, metrics: dict[str, Any]) -> None:
    """`metrics.json`."""
    import orjson

    with _whole(path) as file:
        file.write(orjson.dumps(metrics, option=orjson.OPT_INDENT_2).decode() + "\n")


@contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """A file that appears under its name only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        yield file
    os.replace(partial, path)


def show(metrics: dict[str, Any], output: Path) -> None:
    """The result as a table, for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    score, decisions = metrics["score"], metrics["decisions"]
    table = Table("", "hits", "frauds", "precision", "recall", box=None, pad_edge=False)
    rows = {"all decisions": decisions, **{f"rule {rule}": hits for rule, hits in metrics["rules"].items()}}
    for name, hits in rows.items():
        table.add_row(
            name, f"{hits['hits']:,}", f"{hits['frauds']:,}", _percent(hits["precision"]), _percent(hits["recall"])
        )
    at = score["at_review_threshold"]
    table.add_row(
        f"score ≥ {at['threshold']:g}", f"{at['above']:,}", "", _percent(at["precision"]), _percent(at["recall"])
    )
    console.print(f"{metrics['transactions']:,} transactions, {metrics['frauds']:,} of them frauds", highlight=False)
    if metrics["rejected"]:
        console.print(f"not usable: {', '.join(f'{n:,} {reason}' for reason, n in metrics['rejected'].items())}")
    console.print(
        f"score: ROC AUC {_figure(score['roc_auc'])}, average precision {_figure(score['average_precision'])}, "
        f"log-loss {_figure(score['log_loss'])} on {score['scored']:,} that had one",
        highlight=False,
    )
    console.print(table)
    console.print(f"written: {output / 'scores.csv'}, {output / 'metrics.json'}", highlight=False, soft_wrap=True)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
