"""Rule sets: what a fraud team edits."""

from operators.rules.rule_set import (
    SEVERITIES,
    CompiledRules,
    Rule,
    RuleError,
    RuleSet,
    Severity,
    Verdict,
    load_rules,
    parse_rules,
    render,
)

__all__ = [
    "SEVERITIES",
    "CompiledRules",
    "Rule",
    "RuleError",
    "RuleSet",
    "Severity",
    "Verdict",
    "load_rules",
    "parse_rules",
    "render",
]
