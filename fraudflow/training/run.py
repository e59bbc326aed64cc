"""A trainer driven over a whole history."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from flows.parts import limits
from flows.settings import Settings
from fraudflow.evaluation.history import History, HistoryError, read_history
from fraudflow.evaluation.replay import Replay
from fraudflow.training.quantiles import find_bins, unfitted, with_bins
from operators.decisions.decide import Thresholds
from operators.model.files import load_model
from operators.model.first import FirstModel
from operators.model.specification import Specification
from operators.rules import RuleSet


def learn(
    file: Path,
    model: Path,
    settings: Settings,
    label_delay: int,
    first: FirstModel | None,
    *,
    fit: bool,
    console: Console,
) -> tuple[Replay, History]:
    """The replay whose trainer has learned all of the history. With `fit`, bins that are missing in the file `model`
    are found and written there before. Raises ValueError and OSError."""
    specification = load_model(model, (), fitted=not fit)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        reading = progress.add_task(f"reading {file.name}", total=None)
        history = read_history(file, limits(settings), lambda rows: progress.update(reading, completed=rows))
        progress.remove_task(reading)
        if not any(row.is_fraud for row in history.rows):
            raise HistoryError(
                f"{file}: {len(history.rows):,} usable rows, none of them labelled as fraud: nothing to learn from"
                f"{''.join(f'; {first}' for first in history.first_rejected.values())}"
            )
        if unfitted(specification):
            specification = _fitted(specification, model, history, settings, label_delay, progress)
        replay = Replay(
            RuleSet(()),
            specification,
            Thresholds(settings.review_threshold, settings.block_threshold),
            label_delay=label_delay,
            label_maturity=max(label_delay, settings.label_maturity),
            allowed_lateness=settings.allowed_lateness,
            first=first,
        )
        learning = progress.add_task("judging and learning", total=len(history.rows))
        for rows in replay.run(history.rows):
            progress.update(learning, completed=rows)
        replay.finish()
    return replay, history


def _fitted(
    specification: Specification,
    model: Path,
    history: History,
    settings: Settings,
    label_delay: int,
    progress: Progress,
) -> Specification:
    looking = progress.add_task("looking for quantiles", total=len(history.rows))
    bins = find_bins(
        specification,
        history.rows,
        allowed_lateness=settings.allowed_lateness,
        label_delay=label_delay,
        progress=lambda rows: progress.update(looking, completed=rows),
    )
    progress.remove_task(looking)
    model.write_text(with_bins(model.read_text(encoding="utf-8"), bins), encoding="utf-8")
    return load_model(model)
