"""`fraudflow rules`: check rules before the flow reads them, and try them on a history."""

import typer

from fraudflow.rules.backtest import backtest
from fraudflow.rules.check import check

app = typer.Typer(no_args_is_help=True, help="Check rules, and try them on a history.")
app.command()(check)
app.command()(backtest)
