"""What a schema of others must not be, since any bytes are read by it.

The decoder of Avro is C: a type that holds itself nests as deep as a message says, which ends the process (a message of
10 kB does), and an array of what takes no bytes is as long as a message says, which ends the memory. A JSON Schema that
refers to an address would have it fetched.
"""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_NODES = 10_000


class SchemaRefused(ValueError):
    """A schema by which no message is read; the text says why."""


def check_avro(schema: Any) -> None:
    """Raises SchemaRefused for a schema with a type that holds itself, or with an array or map of nothing."""
    _Check().visit(schema, ())


def check_json_schema(schema: Any) -> None:
    """Raises SchemaRefused for a schema that refers to anything outside itself."""
    waiting, nodes = [schema], 0
    while waiting:
        part = waiting.pop()
        nodes += 1
        if nodes > MOST_NODES:
            raise SchemaRefused(f"it has more than {MOST_NODES} parts")
        if isinstance(part, Mapping):
            for name in ("$ref", "$dynamicRef", "$recursiveRef"):
                to = part.get(name)
                if isinstance(to, str) and not to.startswith("#"):
                    raise SchemaRefused(f"it refers to {to[:80]!r}: wanted all of it in one")
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


class _Check:
    def __init__(self) -> None:
        self.named: dict[str, Any] = {}
        self.nodes = 0

    def visit(self, schema: Any, inside: tuple[str, ...]) -> bool:
        """Whether a value of this type can take no bytes. `inside` are the named types around it."""
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise SchemaRefused(f"it has more than {MOST_NODES} types in it")
        if isinstance(schema, str):
            return self._name(schema, inside)
        if isinstance(schema, list):
            for member in schema:
                self.visit(member, inside)
            return False  # the number of the member takes a byte
        if not isinstance(schema, Mapping):
            raise SchemaRefused(f"{type(schema).__name__} is no Avro type")
        return self._complex(schema, inside)

    def _complex(self, schema: Mapping[str, Any], inside: tuple[str, ...]) -> bool:
        kind = schema.get("type")
        match kind:
            case "record" | "error":
                name = self._define(schema)
                empty = [self.visit(field.get("type"), (*inside, name)) for field in schema.get("fields", ())]
                return all(empty)
            case "array":
                if self.visit(schema.get("items"), inside):
                    raise SchemaRefused("it has an array of what takes no bytes")
                return False
            case "map":
                self.visit(schema.get("values"), inside)
                return False
            case "fixed":
                self._define(schema)
                return not schema.get("size")
            case "enum":
                self._define(schema)
                return False
            case _:
                return self.visit(kind, inside)

    def _define(self, schema: Mapping[str, Any]) -> str:
        name = str(schema.get("name", ""))
        for known in _names(name, str(schema.get("namespace", ""))):
            self.named[known] = schema
        return name.rpartition(".")[2]

    def _name(self, name: str, inside: tuple[str, ...]) -> bool:
        if name.rpartition(".")[2] in inside:
            raise SchemaRefused(f"its type {name!r} holds itself, and so could nest without end")
        if name in self.named:
            # Seen before, as its own definition was: what matters is whether it takes bytes.
            return self.visit(self.named[name], inside)
        return name == "null"


def _names(name: str, namespace: str) -> Iterator[str]:
    yield name
    yield name.rpartition(".")[2]
    if namespace:
        yield f"{namespace}.{name}"
