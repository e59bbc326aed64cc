"""`fraudflow train`: a first model from a history."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from flows.settings import Settings
from fraudflow.options import in_words, option


def train(
    file: Annotated[Path, typer.Argument(help="The history: CSV, JSON lines (either may be .gz) or Parquet.")],
    output: Annotated[Path, typer.Option(help="The file for the model.")] = Path("reports/train/model.json"),
    publish: Annotated[
        bool, typer.Option("--publish", help="Put it on the models' topic too, where a flow takes it up.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="What it sees and how it learns; without it FRAUD_MODEL_FILE.")
    ] = None,
    label_delay: Annotated[
        str, typer.Option(help="How long after its transaction a label is known, such as 24h.")
    ] = "",
    begin_with: Annotated[Path | None, typer.Option(help="A model of an earlier `train`, to go on from.")] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Find the bins of `quantiles`, and write them into the model's TOML file.")
    ] = False,
    parts: Annotated[int, typer.Option(help="In how many parts of the time to tell the quality.", min=1, max=50)] = 4,
) -> None:
    """Make a first model from a history, so that the first day is not blind.

    With the flow's own operators, in event-time order: each transaction is judged first, and learned when its label is
    known, on the features as they were. What still waits at the end is learned then. Tells how good the scores were.

    Example: `python -m fraudflow train data/paysim_excerpt.csv.gz --label-delay 1h --output reports/train/model.json`
    """
    from rich.console import Console

    from connectors.kafka import KafkaUnavailable
    from fraudflow.evaluation.writable import require_file
    from fraudflow.first_models import read_first, write_first
    from fraudflow.sending import DeliveryFailed
    from fraudflow.training import publishing
    from fraudflow.training.run import learn
    from fraudflow.training.telling import tell
    from operators.durations import parse_duration

    console = Console(stderr=True)
    settings = Settings.load()
    path = model or settings.model_file
    gc.disable()  # as in `evaluate`
    try:
        if path is None:
            raise ValueError("FRAUD_MODEL_FILE is empty: name the model's TOML file with --model")
        delay = option("--label-delay", parse_duration, label_delay, settings.label_delay)
        require_file(output, "--output")
        first = read_first(begin_with) if begin_with else None
        sender = publishing.connect(settings) if publish else None
        replay, history = learn(file, path, settings, delay, first, fit=fit, console=console)
        assert replay.trainer is not None, "a replay with a model has a trainer"
        made = replay.trainer.as_first(history.rows[-1].transaction.event_time)
        write_first(output, made)
        tell(replay, history, delay, parts, settings)
        if sender:
            made = publishing.publish(sender, settings, made)
            write_first(output, made)
    except (ValueError, OSError, DeliveryFailed, KafkaUnavailable) as error:
        told = in_words(error) if isinstance(error, ValueError | OSError) else str(error)
        console.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        gc.enable()
    where = f"{output} and to the topic {settings.model_topic}" if publish else str(output)
    Console().print(f"model {made}: written to {where}", markup=False, highlight=False, soft_wrap=True)
