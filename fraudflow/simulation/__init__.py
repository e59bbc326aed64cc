"""Simulated payment traffic with known fraud in it: the same seed gives the same bytes."""
