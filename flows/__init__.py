"""The topology: wiring only."""
