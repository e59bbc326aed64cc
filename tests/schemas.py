"""The published schemas of the topics, as validators."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

WHOLE = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
Validator = extend(Draft202012Validator, type_checker=WHOLE)
"""7.0 is no whole number in our records."""


def schema(name: str) -> dict[str, Any]:
    """As it is published."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


@cache
def published(name: str) -> Any:
    """Fields that the schema does not name are allowed where it does not forbid them."""
    return Validator(schema(name))


@cache
def complete(name: str) -> Any:
    """What we write ourselves must be described whole: no field that the schema does not name."""
    return Validator(closed(schema(name)))


def closed(part: Any) -> Any:
    """Every object that lists its properties has no others; of alternatives each is closed for itself."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    inner = {key: value if key in ("if", "then", "not") else closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and "type" in part and "additionalProperties" not in part:
        inner["additionalProperties"] = False
    return inner


def problems(validator: Any, record: Any) -> list[str]:
    """What is wrong with a record, and where."""
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(record)]
