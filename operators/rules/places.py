"""Where in a TOML text each rule and each of its fields stands, which the standard reader does not tell."""

import re
from typing import NamedTuple

HEADER = re.compile(r"[ \t]*\[\[?[ \t]*([\w.\-]+)[ \t]*\]")
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
    """One `[[rule]]`: the line of its header, and its fields. Those of tables within it are left out."""

    line: int
    fields: dict[str, Value]

    def of(self, field: str) -> Place:
        """Where a field stands, or the header where it does not."""
        return self.fields[field].place if field in self.fields else Place(self.line, 1)


def rule_tables(text: str) -> list[Table]:
    """The `[[rule]]` tables of a text that is TOML, in order."""
    tables: list[Table] = []
    current: dict[str, Value] = {}
    position = 0
    while position < len(text):
        if header := HEADER.match(text, position):
            current = {}
            if header[1] == "rule":
                tables.append(Table(text.count("\n", 0, position) + 1, current))
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
