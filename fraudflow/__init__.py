"""The command line: `python -m fraudflow --help`."""
