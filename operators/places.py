"""Where in a TOML text each table and each of its fields stands, which the standard reader does not tell, and what is
wrong there, as compilers tell it."""

import re
from typing import NamedTuple

from operators.expressions import ExpressionError, with_caret

HEADER = re.compile(r"[ \t]*\[\[?[ \t]*([\w.\-]+)[ \t]*\]")
AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")
KEY = re.compile(r"[ \t]*([\w\-]+)[ \t]*=[ \t]*")
STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|\'\'\'(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


class Place(NamedTuple):
    """A line and a column, from 1."""

    line: int
    column: int


class Value(NamedTuple):
    """The value of a field: where it begins, and its text as it stands in the file."""

    place: Place
    text: str

    def inside(self, line: int, column: int) -> Place:
        """The place of a character of a string value, where nothing is escaped before it; else the value's own."""
        opening = 3 if self.text.startswith(("'''", '"""')) else 1
        if self.text.startswith('"') and "\\" in self.text:
            return self.place
        if opening == 3 and self.text[3:4] in ("\n", "\r"):  # a line break right behind the quotes does not count
            return Place(self.place.line + line, column)
        return Place(self.place.line + line - 1, column + (self.place.column - 1 + opening if line == 1 else 0))


class Table(NamedTuple):
    """One `[[rule]]` or `[learning]`: the line of its header, and its fields without those of tables in it."""

    name: str
    line: int
    fields: dict[str, Value]

    def of(self, field: str) -> Place:
        """Where a field stands, or the header where it does not."""
        return self.fields[field].place if field in self.fields else Place(self.line, 1)

    def of_expression(self, field: str, error: ExpressionError) -> Place:
        """Where an error in the field's expression stands."""
        return self.fields[field].inside(error.line, error.column)


class Problem(NamedTuple):
    """What is wrong, and where."""

    place: Place
    message: str

    def shown(self, name: str, text: str) -> str:
        """As compilers tell it: file, line, column, then the line with a caret."""
        lines = text.splitlines() or [""]
        line = lines[min(self.place.line, len(lines)) - 1]
        number = f"{self.place.line:>5}"
        column = len(line[: self.place.column - 1].expandtabs(4))
        part, caret = with_caret(line.expandtabs(4), column + 1).split("\n")
        where = f"{name}:{self.place.line}:{self.place.column}"
        return f"{where}: {self.message}\n{number} | {part}\n{' ' * len(number)} | {caret}"


def not_toml(text: str, error: Exception) -> Problem:
    """What the standard reader says of a text, with its place where it tells one."""
    at = AT.search(str(error))
    if at is None:
        return Problem(Place(1, 1), f"not TOML: {error}")
    lines = text.splitlines() or [""]
    place = Place(int(at[1]), int(at[2])) if at[1] else Place(len(lines), len(lines[-1]) + 1)
    return Problem(place, f"not TOML: {AT.sub('', str(error))}")


def tables_of(text: str) -> list[Table]:
    """The tables of a text that is TOML, in order; the first, without a name, is what stands before any header."""
    current: dict[str, Value] = {}
    tables = [Table("", 1, current)]
    position = 0
    while position < len(text):
        if header := HEADER.match(text, position):
            current = {}
            tables.append(Table(header[1], text.count("\n", 0, position) + 1, current))
        elif key := KEY.match(text, position):
            end = _value_end(text, key.end())
            line = text.count("\n", 0, key.end()) + 1
            column = key.end() - (text.rfind("\n", 0, key.end()) + 1) + 1
            current[key[1]] = Value(Place(line, column), text[key.end() : end])
            position = end
        position = text.find("\n", position) + 1 or len(text)
    return tables


def _value_end(text: str, position: int) -> int:
    """Where the value that begins here ends: at the end of its line, but for what brackets and quotes hold."""
    depth = 0
    while position < len(text):
        character = text[position]
        if character in "\"'" and (string := STRING.match(text, position)):
            position = string.end()
            if depth == 0:
                return position
            continue
        if character == "#":
            position = text.find("\n", position) if "\n" in text[position:] else len(text)
            continue
        if character == "\n" and depth == 0:
            return position
        depth += (character in "[{") - (character in "]}")
        position += 1
    return position
