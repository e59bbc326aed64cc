"""The commands of `python -m fraudflow`. What a command needs is imported when it runs, so that `--help` is quick."""

import sys
from typing import Annotated

import typer

from fraudflow import dlq, models, rules, state, topics
from fraudflow.demo.command import demo
from fraudflow.evaluation.command import evaluate
from fraudflow.run.command import run
from fraudflow.simulation.command import simulate
from fraudflow.topology import topology
from fraudflow.training.command import train

app = typer.Typer(
    name="python -m fraudflow",
    help="Real-time fraud detection on Kafka: rules, windows and an online model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(run)
app.command()(simulate)
app.command()(evaluate)
app.command()(topology)
app.command()(train)
app.add_typer(topics.app, name="topics")
app.add_typer(rules.app, name="rules")
app.add_typer(state.app, name="state")
app.add_typer(models.app, name="model")
app.add_typer(dlq.app, name="dlq")


@app.command()
def broker(
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="End with the parent that holds the pipe to standard input.")
    ] = False,
) -> None:
    """An embedded Kafka broker to try things with: prints its address, serves until Ctrl-C, keeps nothing.

    Example: `python -m fraudflow broker`
    """
    from fraudflow.broker import run as serve

    serve(until_stdin_closes=until_stdin_closes)


def main() -> None:
    """Runs a command. Settings that can't be used are told without a traceback, with exit code 2."""
    try:
        app()
    except ValueError as error:
        from flows.settings import SettingsError

        if not isinstance(error, SettingsError):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)
