"""The small expression language that rules and models are written in."""

from operators.expressions.compiling import GLOBALS, compile_condition, compile_source
from operators.expressions.language import (
    LIST_NAME,
    Expression,
    ExpressionError,
    Kind,
    Name,
    Namespace,
    UnknownName,
    parse,
    with_caret,
)

__all__ = [
    "GLOBALS",
    "LIST_NAME",
    "Expression",
    "ExpressionError",
    "Kind",
    "Name",
    "Namespace",
    "UnknownName",
    "compile_condition",
    "compile_source",
    "parse",
    "with_caret",
]
