"""`fraudflow rules backtest`: what rules would have done on a history, by themselves and against others."""

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.settings import Settings
from operators.rules.changes import ListChange


def backtest(
    file: Annotated[Path, typer.Argument(help="The history: CSV, JSON lines (either may be .gz) or Parquet.")],
    rules: Annotated[Path | None, typer.Option(help="The rules; without it FRAUD_RULES_FILE.")] = None,
    against: Annotated[Path | None, typer.Option(help="Rules to compare them with, such as those in force.")] = None,
    lists: Annotated[
        Path | None, typer.Option(help="Entries of lists: JSON lines as the values of the topic fraud-lists.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder for backtest.json and backtest.html.")] = Path(
        "reports/backtest"
    ),
) -> None:
    """Put rules through a history, exactly as the flow would judge it by them, without the model.

    Tells for each rule what it hits, how much of that is fraud, the money it catches and the money it bothers, what it
    has in common with others, and the alerts a day after cooldowns; with `--against`, which decisions would change.

    Example: `python -m fraudflow rules backtest data/paysim_excerpt.csv.gz --rules rules.toml`
    """
    import orjson
    from rich.console import Console
    from rich.progress import Progress

    from flows.parts import limits, model_beside
    from fraudflow.evaluation.history import HistoryError, read_history
    from fraudflow.evaluation.writable import require_folder
    from fraudflow.rules import page, terminal
    from fraudflow.rules.findings import findings
    from fraudflow.rules.trial import columns, run
    from operators.rules import load_rules

    console = Console(stderr=True)
    settings = Settings.load()
    paths = [rules or settings.rules_file, *([against] if against else [])]
    gc.disable()  # millions of rows, none of them in a circle: looking for some would take a third of the time
    try:
        require_folder(output, "--output")
        model = model_beside(settings)
        rule_sets = [load_rules(path, model.fields if model else ()) for path in paths]
        entries = _entries(lists) if lists else []
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            reading = progress.add_task(f"reading {file.name}", total=None)
            history = read_history(file, limits(settings), lambda rows: progress.update(reading, completed=rows))
            progress.remove_task(reading)
            if not history.rows:
                rejected = "; ".join(history.first_rejected.values())
                raise HistoryError(f"{file}: no usable row; {rejected or 'it is empty'}")
            judging = progress.add_task("judging", total=len(history.rows))
            trials = run(
                history.rows,
                rule_sets,
                entries,
                settings.allowed_lateness,
                lambda rows: progress.update(judging, completed=rows),
                label_delay=settings.label_delay,
                elsewhere=model.fields if model else (),
            )
    except ValueError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        gc.enable()
    found: dict[str, Any] = {
        "file": file.name,
        "rejected": history.rejected,
        "first_rejected": history.first_rejected,
        **findings(columns(history.rows), trials, [str(path) for path in paths]),
    }
    output.mkdir(parents=True, exist_ok=True)
    _write(output / "backtest.json", orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    _write(output / "backtest.html", page.backtest_page(found).encode())
    terminal.show(found)
    Console().print(f"written: {output / 'backtest.json'}, {output / 'backtest.html'}", highlight=False, soft_wrap=True)


def _write(path: Path, content: bytes) -> None:
    """A file that appears under its name only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _entries(path: Path) -> Sequence[ListChange]:
    import orjson

    from operators.rules.changes import entry_of_message

    entries = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        wanted = 'wanted {"list": …, "value": …, "expires_at": …}'
        try:
            message = orjson.loads(line)
            if not isinstance(message, dict) or not {"list", "value"} <= message.keys():
                raise ValueError(f"{line[:80].decode(errors='replace')} has no `list` and `value`")
            entries.append(entry_of_message(f"{message['list']}/{message['value']}", line, number))
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}: {wanted}") from error
    return entries
