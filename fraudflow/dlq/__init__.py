"""`fraudflow dlq`: look at dead letters, and put them back."""

from fraudflow.dlq.command import app

__all__ = ["app"]
