"""`fraudflow evaluate`: what rules and model would have decided on a history."""

import gc
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.settings import Settings
from fraudflow.evaluation.files import write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from fraudflow.evaluation.history import History
    from fraudflow.evaluation.replay import Replay

SHORTER_DELAYS = (("1d", 86_400_000), ("1h", 3_600_000), ("1m", 60_000), ("1s", 1_000))

__all__ = ["evaluate", "write_json"]


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
    from rich.progress import Progress

    from flows.parts import limits
    from fraudflow.evaluation.comparison import summary
    from fraudflow.evaluation.costs import parse_costs
    from fraudflow.evaluation.history import HistoryError, read_history
    from fraudflow.evaluation.measures import measure
    from fraudflow.evaluation.report import write_all
    from fraudflow.evaluation.terminal import show
    from fraudflow.evaluation.writable import require_folder
    from operators.decisions.decide import Thresholds
    from operators.durations import parse_duration
    from operators.times import parse_time

    console = Console(stderr=True)
    settings = Settings.load()
    thresholds = Thresholds(settings.review_threshold, settings.block_threshold)
    gc.disable()  # millions of rows, none of them in a circle: looking for some would take a fifth of the time
    try:
        delay = _option("--label-delay", parse_duration, label_delay, settings.label_delay)
        first = _option("--from", parse_time, start, 0)
        last = _option("--to", parse_time, end, 2**62)
        prices = parse_costs(costs)
        files = {"rules": rules or settings.rules_file, "model": model or settings.model_file}
        others = {_kind(path): path for path in against or []}
        require_folder(output, "--output")
        replays = [_replay(each, thresholds, delay, settings) for each in (files, files | others)[: 1 + bool(others)]]
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            reading = progress.add_task(f"reading {file.name}", total=None)
            history = read_history(file, limits(settings), lambda rows: progress.update(reading, completed=rows))
            progress.remove_task(reading)
            if not history.rows:
                raise HistoryError(
                    f"{file}: no usable row; {'; '.join(history.first_rejected.values()) or 'it is empty'}"
                )
            _require_some(file, history, first, last)
            for replay, title in zip(
                replays, ("deciding", f"against {' '.join(map(str, against or []))}"), strict=False
            ):
                _run(replay, history, progress, title)
    except (ValueError, OSError) as error:
        console.print(_plain(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        gc.enable()

    judged, *other = [replay.judged.between(first, last) for replay in replays]
    metrics: dict[str, Any] = {
        "file": file.name,
        "rows": len(history.rows) + sum(history.rejected.values()),
        "rejected": history.rejected,
        "first_rejected": history.first_rejected,
        "from": start or None,
        "to": end or None,
        "label_delay_s": delay / 1000,
        **measure(judged, thresholds, capacity, prices),
        "model": _model(replays[0]),
        "note": _note(replays[0], history, delay),
    }
    if other:
        metrics["against"] = {
            "files": [path.name for path in others.values()],
            "changes": summary(judged, other[0]),
            **measure(other[0], thresholds, capacity, prices),
            "model": _model(replays[1]),
        }
    if metrics["note"]:
        console.print(metrics["note"], style="yellow", markup=False, highlight=False, soft_wrap=True)
    written = write_all(output, metrics, [judged, *other], replays[0].course, prices)
    show(metrics)
    Console().print(f"written to {output}: {', '.join(written)}", highlight=False, soft_wrap=True)


def _option(name: str, parse: Callable[[str], int], text: str, default: int) -> int:
    """An option's value; what is wrong with it is told with its name."""
    try:
        return parse(text) if text else default
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _plain(error: ValueError | OSError) -> str:
    """In words, without the number that the system has for it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return re.sub(r"\[Errno -?\d+\] (.*?)(: '.*')?$", r"\1", str(error))


def _require_some(file: Path, history: "History", first: int, last: int) -> None:
    """Raises ValueError where `--from` and `--to` leave nothing to judge."""
    from operators.times import iso

    times = [row.transaction.event_time for row in history.rows]
    if not any(first <= time < last for time in times):
        span = f"the file holds {iso(times[0])} to {iso(times[-1])}"
        raise ValueError(f"{file}: --from and --to leave no transaction; {span}")


def _note(replay: "Replay", history: "History", delay: int) -> str | None:
    """Why there is no score where no label came in time to learn from."""
    span = history.rows[-1].transaction.event_time - history.rows[0].transaction.event_time
    if replay.trainer is None or replay.weights is not None or span > delay:
        return None
    if all(row.is_fraud is None for row in history.rows):
        return "no score: the file holds no label to learn from"
    shorter = next((text for text, size in SHORTER_DELAYS if size <= span // 4), "0s")
    return (
        f"no score: no label arrives within the history ({_words(span)}) with a label delay of {_words(delay)}: "
        f"try --label-delay {shorter}"
    )


def _words(milliseconds: int) -> str:
    """A duration for people: `7 d`, `8 h`."""
    size, unit = next(
        ((size, unit) for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)) if milliseconds >= size),
        (1_000, "s"),
    )
    return f"{milliseconds / size:.3g} {unit}"


def _kind(path: Path) -> str:
    """Whether a TOML file holds rules or a model. Raises ValueError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (UTF-8 is wanted)") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    kinds = [kind for kind, table in (("rules", "rule"), ("model", "feature")) if table in content]
    if len(kinds) != 1:
        raise ValueError(f"{path}: neither rules ([[rule]]) nor a model ([[feature]])")
    return kinds[0]


def _replay(files: dict[str, Any], thresholds: Any, delay: int, settings: Settings) -> "Replay":
    from fraudflow.evaluation.replay import Replay
    from operators.model.specification import load_model
    from operators.rules import load_rules

    return Replay(
        load_rules(files["rules"]),
        load_model(files["model"]) if files["model"] else None,
        thresholds,
        label_delay=delay,
        label_maturity=max(delay, settings.label_maturity),
        allowed_lateness=settings.allowed_lateness,
    )


def _run(replay: "Replay", history: "History", progress: "Progress", title: str) -> None:
    deciding = progress.add_task(title, total=len(history.rows))
    for rows in replay.run(history.rows):
        progress.update(deciding, completed=rows)
    progress.remove_task(deciding)


def _model(replay: "Replay") -> dict[str, Any] | None:
    weights = replay.weights
    if weights is None:
        return None
    trained = {"examples": weights.trained_on.examples, "frauds": weights.trained_on.frauds}
    drifts = [{"at": event.at, "detector": event.detector, "message": event.message} for event in replay.course.drifts]
    return {"name": weights.name, "version": weights.version, "trained_on": trained, "drift": drifts}
