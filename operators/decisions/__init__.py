"""Decisions, alerts, cooldown and live statistics."""
