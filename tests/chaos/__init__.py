"""Faults that take minutes or much memory, done to a running system: `make chaos`."""
