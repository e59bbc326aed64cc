"""Turn a checked expression into Python source, typed, with a stated meaning for missing values.

A missing value makes arithmetic missing and a comparison false; `not` of such a comparison is true. A division by zero,
the logarithm of what is not positive and the square root of what is negative are missing. `missing(x)` asks. Products
and rounded numbers are floats: what is too large is infinite, and nothing that is evaluated raises.

`x in list("name")` looks a text up with `_list0`, the `get` of the first of the lists: until when (event time) each of
its entries counts.
"""

import ast
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from operators.expressions.language import Expression, Kind, Name, Namespace, UnknownName, list_name

Number = float | int | None

OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Eq: "==", ast.NotEq: "!=",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def _add(a: Number, b: Number) -> Number:
    return None if a is None or b is None else a + b


def _sub(a: Number, b: Number) -> Number:
    return None if a is None or b is None else a - b


def _mul(a: Number, b: Number) -> Number:
    return None if a is None or b is None else 1.0 * a * b


def _div(a: Number, b: Number) -> Number:
    return None if a is None or not b else a / b


def _mod(a: Number, b: Number) -> Number:
    return None if a is None or not b else a % b


def _neg(a: Number) -> Number:
    return None if a is None else -a


def _abs(a: Number) -> Number:
    return None if a is None else abs(a)


def _round(a: Number) -> Number:
    return None if a is None or not math.isfinite(a) else float(round(a))


def _log(a: Number) -> Number:
    return None if a is None or a <= 0 else math.log(a)


def _sqrt(a: Number) -> Number:
    return None if a is None or a < 0 else math.sqrt(a)


def _min(*values: Number) -> Number:
    known = [value for value in values if value is not None]
    return min(known) if len(known) == len(values) else None


def _max(*values: Number) -> Number:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


ARITHMETIC: Mapping[str, Callable[..., Number]] = {"+": _add, "-": _sub, "*": _mul, "/": _div, "%": _mod}

GLOBALS: Mapping[str, Any] = {
    "__builtins__": {},
    **{f.__name__: f for f in (*ARITHMETIC.values(), _neg, _abs, _round, _log, _sqrt, _min, _max)},
}
"""What generated code may see: pass a copy to `exec`."""


def compile_source(expression: Expression, namespace: Namespace, *, lists: list[str] | None = None) -> Name:
    """The expression as Python source over `t` and `f`.

    Where lists may be asked, `lists` are their names: `_list0(text, 0)` stands for the time until which the first of
    them has the text. A name that is not there yet is added.

    Raises ExpressionError where a name is unknown or the kinds do not fit (a text in arithmetic, a number in `and`).
    A result of kind boolean may be None only where a bare missing name is all there is; it counts as false.
    """
    return _Compiler(expression, namespace, lists).emit(expression.tree)


def compile_condition(expression: Expression, namespace: Namespace, *, lists: list[str] | None = None) -> str:
    """Like `compile_source`, for an expression that must be a condition."""
    result = compile_source(expression, namespace, lists=lists)
    if result.kind != "boolean":
        raise expression.error(f"a condition is wanted, this is a {result.kind}", expression.tree)
    return result.code


class _Compiler:
    """One walk over one expression; temporaries are numbered within it."""

    def __init__(self, expression: Expression, namespace: Namespace, lists: list[str] | None) -> None:
        self.expression = expression
        self.namespace = namespace
        self.lists = lists
        self.temporaries = 0

    def emit(self, node: ast.expr) -> Name:
        match node:
            case ast.Name(id=name):
                try:
                    return self.namespace(name)
                except UnknownName as error:
                    raise self.expression.error(str(error), node) from error
            case ast.Constant(value=bool() as value):
                return Name(repr(value), "boolean", False)
            case ast.Constant(value=str() as value):
                return Name(repr(value), "text", False)
            case ast.Constant(value=value):
                return Name(f"{value!r}", "number", False)
            case ast.BoolOp(op=op, values=values):
                word = " and " if isinstance(op, ast.And) else " or "
                return Name(f"({word.join(self.wanted(value, 'boolean').code for value in values)})", "boolean", False)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Name(f"(not {self.wanted(operand, 'boolean').code})", "boolean", False)
            case ast.UnaryOp(op=op, operand=operand):
                return self.sign(op, self.wanted(operand, "number"))
            case ast.BinOp(left=left, op=op, right=right):
                return self.arithmetic(OPERATORS[type(op)], self.wanted(left, "number"), self.wanted(right, "number"))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                pairs = pairwise([left, *comparators])
                parts = [self.comparison(a, op, b) for (a, b), op in zip(pairs, ops, strict=True)]
                return Name(parts[0] if len(parts) == 1 else f"({' and '.join(parts)})", "boolean", False)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self.call(node, function, arguments)
        raise self.expression.error("a list stands only behind `in`", node)

    def wanted(self, node: ast.expr, kind: Kind) -> Name:
        """`node` emitted, which must be of `kind`."""
        result = self.emit(node)
        if result.kind != kind:
            raise self.expression.error(f"a {kind} is wanted here, this is a {result.kind}", node)
        return result

    def sign(self, op: ast.unaryop, operand: Name) -> Name:
        if isinstance(op, ast.UAdd):
            return operand
        return Name(f"_neg({operand.code})" if operand.nullable else f"(-{operand.code})", "number", operand.nullable)

    def arithmetic(self, op: str, left: Name, right: Name) -> Name:
        divides_safely = op not in "/%" or (_is_number(right.code) and float(right.code) != 0)
        if divides_safely and not left.nullable and not right.nullable:
            # A product is never a whole number without bounds, which no sum with a float could hold.
            floating = "1.0 * " if op == "*" else ""
            return Name(f"({floating}{left.code} {op} {right.code})", "number", False)
        return Name(f"{ARITHMETIC[op].__name__}({left.code}, {right.code})", "number", True)

    def comparison(self, left_node: ast.expr, operator: ast.cmpop, right_node: ast.expr) -> str:
        op = OPERATORS[type(operator)]
        left = self.emit(left_node)
        if op in ("in", "not in"):
            if (name := list_name(right_node)) is not None:
                return self.listed(op, left, name, left_node, right_node)
            members = self.members(right_node, left.kind)
            return self.guarded(lambda code: f"{code} {op} {members}", left)
        right = self.emit(right_node)
        if left.kind != right.kind:
            raise self.expression.error(f"a {left.kind} cannot be compared with a {right.kind}", right_node)
        if left.kind != "number" and op not in ("==", "!="):
            raise self.expression.error(f"only numbers have an order; this is a {left.kind}", left_node)
        return self.guarded(lambda one, other: f"{one} {op} {other}", left, right)

    def listed(self, op: str, left: Name, name: str, left_node: ast.expr, right_node: ast.expr) -> str:
        """Whether a text is in a named list at the transaction's own time; what is not in it counts until 0."""
        if self.lists is None:
            raise self.expression.error("only a rule can ask a list", right_node)
        if left.kind != "text":
            raise self.expression.error(f"lists hold texts, this is a {left.kind}", left_node)
        if name not in self.lists:
            self.lists.append(name)
        get = f"_list{self.lists.index(name)}"
        if op == "in":  # no list has what is missing
            return f"({get}({left.code}, 0) > t.event_time)"
        return self.guarded(lambda code: f"{get}({code}, 0) <= t.event_time", left)

    def members(self, node: ast.expr, kind: Kind) -> str:
        """The tuple behind `in`: constants of the kind that is looked for."""
        if not isinstance(node, ast.Tuple | ast.List):
            wanted = (
                'behind `in` stands a list of constants, such as ("FR", "DE"), or a named one, such as list("trusted")'
            )
            raise self.expression.error(wanted, node)
        members = [self.emit(member) for member in node.elts]
        for member, element in zip(members, node.elts, strict=True):
            if not isinstance(element, ast.Constant | ast.UnaryOp) or member.kind != kind:
                raise self.expression.error(f"a constant {kind} is wanted here", element)
        return f"({''.join(member.code + ', ' for member in members)})"

    def guarded(self, write: Callable[..., str], *operands: Name) -> str:
        """The comparison that `write` makes of the operands' codes, false where one is missing. What is more than a
        look-up is computed once."""
        tests, codes = [], []
        for operand in operands:
            code = operand.code
            if operand.nullable:
                if not _is_lookup(code):
                    self.temporaries += 1
                    tests.append(f"(_v{self.temporaries} := {code}) is not None")
                    code = f"_v{self.temporaries}"
                else:
                    tests.append(f"{code} is not None")
            codes.append(code)
        return f"({' and '.join([*tests, write(*codes)])})"

    def call(self, node: ast.expr, function: str, arguments: list[ast.expr]) -> Name:
        if function == "list":
            raise self.expression.error("a list stands only behind `in`", node)
        if function in ("min", "max"):
            if not 2 <= len(arguments) <= 8:
                raise self.expression.error(f"{function} takes 2 to 8 numbers", node)
        elif len(arguments) != 1:
            raise self.expression.error(f"{function} takes one value", node)
        if function == "missing":
            asked = self.emit(arguments[0])
            return Name(f"({asked.code} is None)" if asked.nullable else "False", "boolean", False)
        values = [self.wanted(argument, "number") for argument in arguments]
        nullable = function in ("log", "sqrt", "round") or any(value.nullable for value in values)
        return Name(f"_{function}({', '.join(value.code for value in values)})", "number", nullable)


def _is_lookup(code: str) -> bool:
    return code.replace(".", "").replace("[", "").replace("]", "").replace("_", "").isalnum()


def _is_number(code: str) -> bool:
    try:
        float(code)
    except ValueError:
        return False
    return True
