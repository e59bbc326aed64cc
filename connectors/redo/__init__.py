"""State as incremental snapshots: a redo log of what each key was given, and from time to time its whole state as base.

The engine keeps a manifest for each key (which files, which places in them, which checksums); the files lie in `state/`
inside its recovery directory. An epoch costs what was given in it, not what is kept; docs/operations.md tells the rest.
"""
