"""`fraudflow state`: look at what a recovery directory keeps, check it, or give it up."""

import typer

from fraudflow.state.commands import inspect, reset, user, verify

app = typer.Typer(no_args_is_help=True, help="Look at what a recovery directory keeps, check it, or give it up.")
app.command()(inspect)
app.command()(user)
app.command()(verify)
app.command()(reset)
