"""`python -m fraudflow simulate`: traffic for a flow to judge, made up or from a file."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fraudflow.simulation.scenarios import Scenario
from operators.durations import parse_duration
from operators.times import parse_time


class Format(StrEnum):
    """The formats that the flow accepts."""

    simple = "simple"
    card = "card"
    paysim = "paysim"


def _duration(text: str, option: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _moment(text: str, option: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def simulate(
    *,
    format: Annotated[Format, typer.Option(help="What the messages look like.")] = Format.card,
    rate: Annotated[float | None, typer.Option(help="Messages a second, 1 to 100,000. Default 100.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to go on.", min=0.001)] = 60.0,
    seed: Annotated[int, typer.Option(help="The same seed (and --start) gives the same bytes.")] = 1,
    scenario: Annotated[
        list[Scenario] | None, typer.Option(help="A fraud pattern to put in; can be repeated. Default: all.")
    ] = None,
    fraud_share: Annotated[float, typer.Option(help="Share of frauds; 0: none.", min=0, max=0.5)] = 0.01,
    label_delay: Annotated[
        str, typer.Option(help="How long after a fraud its label follows on the label topic.", metavar="DURATION")
    ] = "30s",
    late_share: Annotated[float, typer.Option(help="Share of late and out-of-order events.", min=0, max=1)] = 0.0,
    late_by: Annotated[str, typer.Option(help="How late at most.", metavar="DURATION")] = "1m",
    malformed_share: Annotated[float, typer.Option(help="Share of messages that can't be used.", min=0, max=1)] = 0.0,
    users: Annotated[int | None, typer.Option(help="How many people. Default: enough for the rate.", min=1)] = None,
    start: Annotated[str | None, typer.Option(help="Event time of the first message. Default: now.")] = None,
    drift_after: Annotated[
        str | None, typer.Option(help="When concept_drift changes. Default: half of --seconds.", metavar="DURATION")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Send these transactions instead: .csv or .jsonl, plain or .gz.", exists=True)
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="With --file: times faster than recorded; --rate for a fixed rate instead.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka servers. Default: FRAUD_KAFKA_BOOTSTRAP_SERVERS.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Default: the first of FRAUD_TRANSACTION_TOPICS.")] = None,
) -> None:
    """Send payment traffic with known frauds in it, at a steady rate, every delivery checked.

    Frauds are labelled on the label topic (`paysim`: inside the message). Messages go out on time however slow the
    broker is; one that is not delivered ends the run with exit code 1.

    Example: `python -m fraudflow simulate --format card --rate 200 --seconds 5 --label-delay 2s`

    Example: `python -m fraudflow simulate --file data/paysim_excerpt.csv.gz --speed 7200`
    """
    # Its imports take half a second, which `--help` should not.
    from fraudflow.simulation import live

    if rate is not None and not 1 <= rate <= 100_000:
        raise typer.BadParameter("wanted 1 to 100000 messages a second", param_hint="--rate")
    if speed is not None and file is None:
        raise typer.BadParameter("wanted only together with --file", param_hint="--speed")
    plan = live.Plan(
        form=format.value,
        rate=rate or 100.0,
        seconds=seconds,
        seed=seed,
        start=_moment(start, "--start") if start else int(time.time() * 1000),
        users=users,
        scenarios=tuple(name.value for name in scenario or Scenario) if fraud_share else (),
        fraud_share=fraud_share,
        label_delay=_duration(label_delay, "--label-delay"),
        late_share=late_share,
        late_by=_duration(late_by, "--late-by"),
        malformed_share=malformed_share,
        drift_after=_duration(drift_after, "--drift-after") if drift_after else None,
        topic=topic or "",
    )
    recording = live.Recording(file, rate, speed or 1.0) if file else None
    raise typer.Exit(live.run(plan, recording, bootstrap))
