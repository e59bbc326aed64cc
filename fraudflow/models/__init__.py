"""`fraudflow model`: which models there are, which one decides, and from which version."""

import typer

from fraudflow.models import commands
from fraudflow.models.showing import list_models, show

app = typer.Typer(no_args_is_help=True, help="Look at models; freeze, roll back and promote them, or rules only.")
app.command("list")(list_models)
app.command()(show)
app.command()(commands.freeze)
app.command()(commands.unfreeze)
app.command()(commands.rollback)
app.command()(commands.promote)
app.command()(commands.rules_only)
app.command()(commands.resume)
