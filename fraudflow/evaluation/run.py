"""A whole evaluation: from the options to what is written and shown."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from flows.parts import limits, read_files
from flows.settings import Settings
from fraudflow.evaluation.comparison import summary
from fraudflow.evaluation.costs import parse_costs
from fraudflow.evaluation.history import History, HistoryError, read_history
from fraudflow.evaluation.measures import measure
from fraudflow.evaluation.notes import warming_up, why_no_score
from fraudflow.evaluation.replay import Replay
from fraudflow.evaluation.report import write_all
from fraudflow.evaluation.terminal import show
from fraudflow.evaluation.writable import require_folder
from fraudflow.first_models import read_first
from fraudflow.options import option
from operators.decisions.decide import Thresholds
from operators.durations import parse_duration
from operators.files import read_text
from operators.model.first import FirstModel
from operators.times import iso, parse_time


@dataclass(frozen=True)
class Request:
    """The command's options, those that are texts as they were given; `files` are those of "rules" and "model"."""

    file: Path
    output: Path
    files: Mapping[str, Path | None]
    against: tuple[Path, ...]
    begin_with: Path | None
    label_delay: str
    start: str
    end: str
    capacity: int
    costs: str


def run(request: Request, settings: Settings, console: Console) -> None:
    """Reads the history, decides on it (by the other files too), writes and shows the result. `console` is for progress
    and for warnings. Raises ValueError and OSError before anything is written."""
    thresholds = Thresholds(settings.review_threshold, settings.block_threshold)
    delay = option("--label-delay", parse_duration, request.label_delay, settings.label_delay)
    since = option("--from", parse_time, request.start, 0)
    until = option("--to", parse_time, request.end, 2**62)
    prices = parse_costs(request.costs)
    others = {_kind(path): path for path in request.against}
    require_folder(request.output, "--output")
    first = read_first(request.begin_with) if request.begin_with else None
    sets = [request.files, {**request.files, **others}][: 1 + bool(others)]
    replays = [_replay(files, thresholds, delay, settings, first) for files in sets]
    history = _decide(request, replays, settings, console, since, until)

    judged = [replay.judged.between(since, until) for replay in replays]
    pairs = zip(judged, replays, strict=True)
    measures = [
        {**measure(one, thresholds, request.capacity, prices), "model": _model(replay)} for one, replay in pairs
    ]
    metrics: dict[str, Any] = {
        **_about(request, history, delay),
        **measures[0],
        "note": why_no_score(replays[0], history, delay),
        "warming_up": warming_up(replays[0], judged[0]),
    }
    if others:
        names = [path.name for path in others.values()]
        metrics["against"] = {"files": names, "changes": summary(*judged), **measures[1]}
    written = write_all(request.output, metrics, judged, replays[0].course, prices)
    show(metrics, console)
    Console().print(f"written to {request.output}: {', '.join(written)}", highlight=False, soft_wrap=True)


def _decide(
    request: Request, replays: list[Replay], settings: Settings, console: Console, since: int, until: int
) -> History:
    """The history, which all replays have decided on."""
    file = request.file
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        reading = progress.add_task(f"reading {file.name}", total=None)
        history = read_history(file, limits(settings), lambda rows: progress.update(reading, completed=rows))
        progress.remove_task(reading)
        if not history.rows:
            raise HistoryError(f"{file}: no usable row; {'; '.join(history.first_rejected.values()) or 'it is empty'}")
        _require_some(file, history, since, until)
        for replay in replays:
            title = "deciding" if replay is replays[0] else f"against {' '.join(map(str, request.against))}"
            deciding = progress.add_task(title, total=len(history.rows))
            for rows in replay.run(history.rows):
                progress.update(deciding, completed=rows)
            progress.remove_task(deciding)
    return history


def _about(request: Request, history: History, delay: int) -> dict[str, Any]:
    return {
        "file": request.file.name,
        "rows": len(history.rows) + sum(history.rejected.values()),
        "rejected": history.rejected,
        "first_rejected": history.first_rejected,
        "from": request.start or None,
        "to": request.end or None,
        "label_delay_s": delay / 1000,
    }


def _require_some(file: Path, history: History, first: int, last: int) -> None:
    """Raises ValueError where `--from` and `--to` leave nothing to judge."""
    times = [row.transaction.event_time for row in history.rows]
    if not any(first <= time < last for time in times):
        span = f"the file holds {iso(times[0])} to {iso(times[-1])}"
        raise ValueError(f"{file}: --from and --to leave no transaction; {span}")


def _kind(path: Path) -> str:
    """Whether a TOML file holds rules or a model. Raises ValueError."""
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    kinds = [kind for kind, table in (("rules", "rule"), ("model", "feature")) if table in content]
    if len(kinds) != 1:
        raise ValueError(f"{path}: neither rules ([[rule]]) nor a model ([[feature]])")
    return kinds[0]


def _replay(
    files: Mapping[str, Any], thresholds: Any, delay: int, settings: Settings, first: FirstModel | None
) -> Replay:
    read = read_files(files["rules"], files["model"])
    return Replay(
        read.rules,
        read.model,
        thresholds,
        label_delay=delay,
        label_maturity=max(delay, settings.label_maturity),
        allowed_lateness=settings.allowed_lateness,
        first=first,
    )


def _model(replay: Replay) -> dict[str, Any] | None:
    weights = replay.weights
    if weights is None:
        return None
    trained = {"examples": weights.trained_on.examples, "frauds": weights.trained_on.frauds}
    drifts = [{"at": event.at, "detector": event.detector, "message": event.message} for event in replay.course.drifts]
    return {"name": weights.name, "version": weights.version, "trained_on": trained, "drift": drifts}
