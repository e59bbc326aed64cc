"""Rule sets: what a fraud team edits."""

from operators.rules.changes import ChangeReader, Changes, ListChange, RuleChange, RuleEvent, Start, start_of
from operators.rules.checking import known_name, load_rules
from operators.rules.in_force import RulesInForce
from operators.rules.rule_set import (
    SEVERITIES,
    CompiledRules,
    Example,
    Rule,
    RuleError,
    RuleSet,
    Severity,
    Verdict,
    parse_rules,
    render,
)

__all__ = [
    "SEVERITIES",
    "ChangeReader",
    "Changes",
    "CompiledRules",
    "Example",
    "ListChange",
    "Rule",
    "RuleChange",
    "RuleError",
    "RuleEvent",
    "RuleSet",
    "RulesInForce",
    "Severity",
    "Start",
    "Verdict",
    "known_name",
    "load_rules",
    "parse_rules",
    "render",
    "start_of",
]
