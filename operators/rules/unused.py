"""Parts of a condition that change nothing: without them it says the same."""

import ast
import copy
from collections.abc import Callable, Iterator

import msgspec

from operators.expressions import ExpressionError, parse
from operators.rules.rule_set import Rule

Implies = Callable[[Rule, Rule], bool]
"""Whether it is proved that the second rule fires wherever the first does."""


def unused_part(rule: Rule, implies: Implies) -> str:
    """The last part of an `and` or `or` that is not needed; empty where none is proved to be.

    `amount > 3` in `amount > 5 and amount > 3`.
    """
    for part, when in _without_one(parse(rule.when).tree):
        try:
            shorter = msgspec.structs.replace(rule, when=when)
            if implies(rule, shorter) and implies(shorter, rule):
                return part
        except ExpressionError:  # longer than is allowed, as it is written here
            continue
    return ""


def _without_one(tree: ast.expr) -> Iterator[tuple[str, str]]:
    """Each part of an `and` or `or`, the last first, and the condition without it."""
    for number, joint in enumerate(_joints(tree)):
        for part in reversed(range(len(joint.values))):
            shorter = copy.deepcopy(tree)
            del _joints(shorter)[number].values[part]
            yield ast.unparse(joint.values[part]), ast.unparse(_Single().visit(shorter))


def _joints(tree: ast.expr) -> list[ast.BoolOp]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.BoolOp)]


class _Single(ast.NodeTransformer):
    """An `and` of one part is that part."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return node.values[0] if len(node.values) == 1 else node
