"""`model.toml` as a file: read, with everything that is refused told with its place."""

import ast
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.expressions import ExpressionError, compile_source, parse
from operators.features.fields import FieldError, Fields, FieldSpec
from operators.features.passes import check_passes
from operators.features.plan import known_in
from operators.files import Unreadable, read_text
from operators.model.challengers import seen_by_any
from operators.model.specification import ModelError, Specification, parse_model
from operators.places import Place, Problem, Table, not_toml, tables_of

FEATURE = re.compile(r"feature ('[^']*'|\"[^\"]*\")")
QUOTED = re.compile(r"`(\w+)`")


def load_model(path: str | Path, elsewhere: Sequence[FieldSpec] | None = None, *, fitted: bool = True) -> Specification:
    """The specification in a TOML file. Its names are resolved where `elsewhere` is given: the derived fields that the
    rules bring, beside its own. Where `fitted`, its quantiles must have bins.

    Raises ModelError, which tells the file and, where there is one, the place in it.
    """
    try:
        text = read_text(path)
    except Unreadable as error:
        raise ModelError(str(error)) from error
    try:
        specification = parse_model(text, fitted=fitted)
        if elsewhere is not None:
            _require_known(specification, elsewhere)
    except ModelError as error:
        problem = _problem(text, error)
        raise ModelError(problem.shown(str(path), text) if problem else f"{path}: {error}") from error
    return specification


def _require_known(specification: Specification, elsewhere: Sequence[FieldSpec]) -> None:
    try:
        fields = Fields([*elsewhere, *specification.fields])
        check_passes(fields)
    except FieldError as error:
        number = next((n for n, field in enumerate(specification.fields) if field.name == error.name), None)
        path = () if number is None else ("field", number, error.part)
        raise ModelError(str(error).partition("\n")[0], path) from error
    known = known_in(fields)
    for feature in seen_by_any(specification).features:
        for source in feature.expressions():
            try:
                compile_source(parse(source), known)
            except ExpressionError as error:
                raise ModelError(f"feature {feature.name!r}: {error}") from error


def _problem(text: str, error: ModelError) -> Problem | None:
    """What is wrong, with its place; None where it has none, as where a table is missing."""
    cause = error.__cause__
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as reason:
        return not_toml(text, reason)
    tables = tables_of(text)
    if error.path:
        return Problem(_place_of_path(error.path, tables), str(error))
    named = FEATURE.search(str(error))
    features = [table for table in tables if table.name == "feature"]
    if named is None or len(features) != len(document["feature"]):  # not written as [[feature]]
        return None
    name = ast.literal_eval(named[1])
    # Of two with one name the later is too many.
    pairs = reversed(list(zip(features, document["feature"], strict=True)))
    table, value = next(((table, value) for table, value in pairs if value["name"] == name), (None, None))
    if table is None or value is None:  # a challenger's own
        return None
    message = str(error).partition("\n")[0]
    if isinstance(cause, ExpressionError) and (field := _field_of(value, cause, table)):
        message = message.removesuffix(f" (line {cause.line}, column {cause.column})")
        return Problem(table.of_expression(field, cause), message)
    mentioned = [field for field in QUOTED.findall(message) if field in table.fields]
    return Problem(table.of(mentioned[0] if mentioned else "name"), message)


def _field_of(value: Mapping[str, Any], cause: ExpressionError, table: Table) -> str:
    """Which field of a feature holds the expression."""
    return next((field for field in table.fields if value.get(field) == cause.source), "")


def _place_of_path(path: tuple[str | int, ...], tables: list[Table]) -> Place:
    """Where a path such as `feature 3, bins` is written; the file's first line where that can't be found."""
    match path:
        case (str(name), int(number), *rest):
            found = [table for table in tables if table.name == name]
            if number < len(found):
                return found[number].of(str(rest[0]) if rest else "")
        case (str(name), str(field), *_):
            return next((table.of(field) for table in tables if table.name == name), tables[0].of(name))
        case (str(name), *_):
            return next((table.of("") for table in tables if table.name == name), tables[0].of(name))
    return Place(1, 1)
