"""Parse and check an expression: names, numbers, strings, logic, comparisons, arithmetic, `in`, and a few listed calls.

The text is parsed by Python's own parser into a syntax tree, of which only the nodes listed here are accepted. Nothing
reaches Python's objects: there are no attributes, no subscripts, no calls beyond `FUNCTIONS`, no way to name anything
that the caller did not offer. Length, depth and numbers are bounded.
"""

import ast
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from operators.showing import shown

Kind = Literal["number", "text", "boolean"]

MAX_LENGTH = 2_000
MAX_DEPTH = 40
MAX_NUMBER = 1e18
FUNCTIONS = ("abs", "log", "max", "min", "missing", "round", "sqrt")
SPELLED = {"=": "==", "&&": "and", "||": "or", "!": "not", "AND": "and", "OR": "or", "NOT": "not"}
"""What other languages write, and what it is here."""
FOREIGN = re.compile(r"&&|\|\||\b(?:AND|OR|NOT)\b|!(?!=)|(?<![=<>!:])=(?![=<>])")
THOUSANDS = re.compile(r"(?<![\w.])(\d{1,3}),(\d{3})(?!\d)")
WIDEST = 160
"""So much of a line is shown."""
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
LIST_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Name(NamedTuple):
    """What a piece of an expression becomes: Python source over `t` (Transaction) and `f` (row), its kind, and
    whether its value can be missing (None)."""

    code: str
    kind: Kind
    nullable: bool


Namespace = Callable[[str], Name]


class UnknownName(ValueError):
    """A name that is neither a field nor a feature; `nearest` holds known names that look like it."""

    def __init__(self, name: str, nearest: tuple[str, ...] = (), why: str = "") -> None:
        hint = f"; nearest known: {', '.join(nearest)}" if nearest else ""
        super().__init__(f"unknown name {shown(name)}{': ' + why if why else ''}{hint}")
        self.name = name
        self.nearest = nearest


class ExpressionError(ValueError):
    """An expression that is refused: what is wrong and where (line and column from 1)."""

    def __init__(self, message: str, source: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"{message} (line {line}, column {column})")
        self.message = message
        self.source = source
        self.line = line
        self.column = column

    def caret(self) -> str:
        """The offending line with a caret under the column, for a terminal."""
        lines = self.source.splitlines() or [""]
        return with_caret(lines[min(self.line, len(lines)) - 1], self.column)


def with_caret(line: str, column: int) -> str:
    """The line with a caret under the column (from 1); of a long line only what stands around it."""
    start = max(0, min(column - 1 - WIDEST // 2, len(line) - WIDEST))
    part = line[start : start + WIDEST]
    before, after = "…" if start else "", "…" if start + WIDEST < len(line) else ""
    return f"{before}{part}{after}\n{' ' * (len(before) + column - 1 - start)}^"


class Expression(NamedTuple):
    """A parsed expression whose nodes are all allowed; its names are not resolved yet. `lists` are those it asks."""

    source: str
    tree: ast.expr
    names: tuple[str, ...]
    lists: tuple[str, ...] = ()

    def error(self, message: str, node: ast.expr) -> ExpressionError:
        """An error placed at `node`."""
        if isinstance(node, ast.Tuple) and (split := THOUSANDS.search(self.source)):
            return _error(f"{message}: write {split[1]}_{split[2]} instead of {split[0]}", self.source, split.start())
        return _error(message, self.source, node.col_offset)


ALLOWED: tuple[type[ast.AST], ...] = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
    ast.Call, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List,
)  # fmt: skip


@lru_cache(maxsize=1024)
def parse(source: str) -> Expression:
    """Parse `source` and check its nodes; raises ExpressionError naming what is not allowed and where."""
    if not isinstance(source, str) or not source.strip():
        raise ExpressionError("the expression is empty", str(source))
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", source)
    if "\n" in source.strip() and "#" in source:
        raise ExpressionError("a comment inside an expression of several lines is not allowed", source)
    # One line keeps the columns in step with the source; the parser wants brackets round several.
    flat = source.replace("\n", " ").replace("\t", " ").replace("\r", " ")
    indent = len(flat) - len(flat.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice (`1 is 1`, `"a"()`) is for its own programs
            tree = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as error:
        if hinted := _hint(flat, str(error.msg)):
            raise _error(f"not an expression: {hinted[0]}", source, hinted[1]) from None
        at = error.offset - 1 if error.offset else len(flat.strip())  # no offset: it ends too early
        raise _error(f"not an expression: {error.msg}", source, indent + at) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"not an expression: {error}", source) from None
    for node in ast.walk(tree):
        if hasattr(node, "col_offset"):
            node.col_offset = indent + len(flat.strip().encode()[: node.col_offset].decode(errors="ignore"))
    names: dict[str, None] = {}
    _check(tree, source, names, depth=1)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not flat.startswith(node.id, node.col_offset):  # Python takes look-alikes
            raise _error(f"write {shown(node.id)} in plain letters", source, node.col_offset)
    lists = dict.fromkeys(name for node in ast.walk(tree) if (name := list_name(node)) is not None)
    return Expression(source, tree, tuple(names), tuple(lists))


def list_name(node: ast.AST) -> str | None:
    """The name in `list("name")`; None for any other node."""
    match node:
        case ast.Call(func=ast.Name(id="list"), args=[ast.Constant(value=str(name))]):
            return name
    return None


def _hint(flat: str, said: str) -> tuple[str, int] | None:
    """What to write instead, and where, in a text that can't be parsed; None where that is not known."""
    bare = QUOTED.sub(lambda quoted: " " * len(quoted[0]), flat)
    if "leading zeros" in said and (split := THOUSANDS.search(bare)):
        return f"write {split[1]}_{split[2]} instead of {split[0]}", split.start()
    if found := FOREIGN.search(bare):
        return f"write {SPELLED[found[0]]} instead of {found[0]}", found.start()
    return None


def _error(message: str, source: str, offset: int) -> ExpressionError:
    """An error at a character offset of `source`."""
    before = source[: max(0, offset)]
    line = before.count("\n") + 1
    return ExpressionError(message, source, line, len(before) - (before.rfind("\n") + 1) + 1)


def _check(node: ast.expr, source: str, names: dict[str, None], depth: int) -> None:
    """Refuse whatever is not in the language; collect the names in their order of appearance."""
    if depth > MAX_DEPTH:
        raise _error(f"nested deeper than {MAX_DEPTH}", source, node.col_offset)
    if not isinstance(node, ALLOWED):
        raise _error(f"{_describe(node)} is not allowed", source, node.col_offset)
    match node:
        case ast.Name(id=name):
            names.setdefault(name)
        case ast.Constant(value=value):
            if isinstance(value, bool | str):
                return
            if not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
                raise _error(
                    f"{value!r:.40} is not a number up to {MAX_NUMBER:g}, a string or a boolean",
                    source,
                    node.col_offset,
                )
        case ast.Call(func=ast.Name(id="list"), args=arguments, keywords=[]):
            if not (len(arguments) == 1 and LIST_NAME.fullmatch(list_name(node) or "")):
                wanted = (
                    'list takes one name in quotes, such as list("trusted"): a letter, then letters, digits, _ . or -'
                )
                raise _error(wanted, source, node.col_offset)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            if function not in FUNCTIONS:
                if function in SPELLED:
                    raise _error(f"write {SPELLED[function]} instead of {function}", source, node.col_offset)
                known = ", ".join(FUNCTIONS)
                raise _error(f"no function {function!r}; there are {known}", source, node.col_offset)
            for argument in arguments:
                _check(argument, source, names, depth + 1)
        case ast.Call():
            raise _error("only a listed function with plain arguments can be called", source, node.col_offset)
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    _check(child, source, names, depth + 1)
                elif not isinstance(child, ALLOWED):
                    raise _error(f"the operator {_describe(child)} is not allowed", source, node.col_offset)


def _describe(node: ast.AST) -> str:
    words = {
        "Attribute": "an attribute", "Subscript": "a subscript", "Lambda": "a lambda", "IfExp": "if … else",
        "JoinedStr": "an f-string", "NamedExpr": "an assignment", "Starred": "a star", "Pow": "**",
        "BitOr": "|", "BitAnd": "&", "BitXor": "^", "LShift": "<<", "RShift": ">>", "FloorDiv": "//", "MatMult": "@",
        "Is": "is", "IsNot": "is not", "Invert": "~", "Dict": "a dictionary", "Set": "a set",
        "ListComp": "a comprehension", "SetComp": "a comprehension", "DictComp": "a comprehension",
        "GeneratorExp": "a comprehension", "Await": "await", "Yield": "yield", "YieldFrom": "yield from",
    }  # fmt: skip
    kind = type(node).__name__
    return words.get(kind, f"a {kind}")
