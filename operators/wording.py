"""What is wrong with a document that does not fit its type, in words for people who do not know Python.

msgspec checks and converts; its messages name types of Python and no choices (``Invalid enum value 'hihg'``). Where it
refuses, `refusal` looks for the first thing that does not fit, and says what would.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple, get_args, get_type_hints

from msgspec import inspect

from operators.showing import shown

Path = tuple[str | int, ...]


class Refusal(NamedTuple):
    """Where in the document (names and numbers from 0 on), and what is wrong there."""

    path: Path
    message: str

    def __str__(self) -> str:
        """`severity is …`, `feature 3, bins 2 is …`."""
        where = [f" {part + 1}" if isinstance(part, int) else f", {shown(part)[1:-1]}" for part in self.path]
        return f"{''.join(where).removeprefix(', ')} {self.message}".strip()


def refusal(document: object, kind: Any) -> Refusal | None:
    """The first thing in `document` (of TOML or JSON) that does not fit the type; None where all does."""
    return next(_wrong(document, _info(kind), ()), None)


@lru_cache(maxsize=64)
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _wrong(value: Any, wanted: inspect.Type, path: Path) -> Iterator[Refusal]:
    match wanted:
        case inspect.Metadata(type=inner, extra_json_schema={"description": str(words)}):
            if not _fits(value, inner):
                yield Refusal(path, f"is {_told(value)}: wanted {words}")
        case inspect.StructType():
            yield from _wrong_struct(value, wanted, path)
        case inspect.DictType(value_type=inner) if isinstance(value, Mapping):
            for key, member in value.items():
                yield from _wrong(member, inner, (*path, str(key)))
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner) if isinstance(value, list):
            for number, member in enumerate(value):
                yield from _wrong(member, inner, (*path, number))
        case inspect.UnionType(types=types):
            found = [next(_wrong(value, one, path), None) for one in types]
            if None not in found:
                yield next(one for one in found if one is not None)
        case inspect.AnyType():
            return
        case _ if not _fits(value, wanted):
            yield Refusal(path, f"is {_told(value)}: wanted {_words(wanted)}")


def _wrong_struct(value: Any, wanted: inspect.StructType, path: Path) -> Iterator[Refusal]:
    if not isinstance(value, Mapping):
        yield Refusal(path, f"is {_told(value)}: wanted a table")
        return
    fields = {field.encode_name: field for field in wanted.fields}
    for name in value:
        if name not in fields:
            nearest = difflib.get_close_matches(str(name)[:80], fields, n=2)
            yield Refusal((*path, str(name)), f"is an unknown field: wanted one of {', '.join(nearest or fields)}")
    for name, field in fields.items():
        if name in value:
            if isinstance(field.type, inspect.LiteralType):
                choices = get_args(get_type_hints(wanted.cls)[field.name])
                yield from _no_choice(value[name], choices, (*path, name))
            else:
                yield from _wrong(value[name], field.type, (*path, name))
        elif field.required:
            yield Refusal(path, f"`{name}` is missing")


def _no_choice(value: Any, choices: Sequence[Any], path: Path) -> Iterator[Refusal]:
    if not isinstance(value, str) or value not in choices:
        nearest = difflib.get_close_matches(value[:80].lower(), choices, n=1) if isinstance(value, str) else []
        hint = f"; nearest: {nearest[0]}" if nearest else ""
        yield Refusal(path, f"is {_told(value)}: wanted one of {', '.join(choices)}{hint}")


def _fits(value: Any, wanted: inspect.Type) -> bool:
    match wanted:
        case inspect.StrType(pattern=pattern):
            return isinstance(value, str) and (pattern is None or re.search(pattern, value) is not None)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(value, wanted)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _within(value, wanted)
        case inspect.NoneType():
            return value is None
    return False


def _within(value: float, wanted: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (wanted.ge is None or value >= wanted.ge)
        and (wanted.gt is None or value > wanted.gt)
        and (wanted.le is None or value <= wanted.le)
        and (wanted.lt is None or value < wanted.lt)
    )


def _words(wanted: inspect.Type) -> str:
    match wanted:
        case inspect.StrType(pattern=pattern):
            return "a text" if pattern is None else f"a text like {pattern}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{_range(wanted)}"
        case inspect.FloatType():
            return f"a number{_range(wanted)}"
        case inspect.NoneType():
            return "nothing"
        case inspect.DictType():
            return "a table"
    return "a list"


def _range(wanted: inspect.IntType | inspect.FloatType) -> str:
    if wanted.ge is not None and wanted.le is not None:
        return f" from {_plain(wanted.ge)} to {_plain(wanted.le)}"
    bounds = (("from {} on", wanted.ge), ("above {}", wanted.gt), ("up to {}", wanted.le), ("below {}", wanted.lt))
    return " and".join(f" {words.format(_plain(bound))}" for words, bound in bounds if bound is not None)


def _plain(bound: float) -> str:
    return f"{int(bound) if bound == int(bound) else bound:,}"


def _told(value: Any) -> str:
    match value:
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case datetime() | date() | time():
            return f"the time {value.isoformat()}"
        case float() if not isfinite(value):
            return "inf" if value > 0 else "-inf" if value < 0 else "nan"
    return shown(value)
