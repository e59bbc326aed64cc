"""What is wrong with a document, in words: told wherever msgspec refuses, and nowhere else."""

from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.model.specification import Specification
from operators.rules import Rule
from operators.wording import refusal


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    some: tuple[int, ...] = ()


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$", description="small letters")]
    kind: Literal["one", "two"] = "one"
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    flag: bool = False
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    lists: dict[str, tuple[str, ...]] = {}
    perhaps: str | None = None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "`name` is missing"),
        (5, "is 5: wanted a table"),
        ([], "is a list: wanted a table"),
        ({"name": "A"}, "name is 'A': wanted small letters"),
        ({"name": "a", "kind": "Two"}, "kind is 'Two': wanted one of one, two; nearest: two"),
        ({"name": "a", "kind": "qqq"}, "kind is 'qqq': wanted one of one, two"),
        ({"name": "a", "kind": None}, "kind is null: wanted one of one, two"),
        ({"name": "a", "count": 0}, "count is 0: wanted a whole number from 1 to 1,000,000"),
        ({"name": "a", "count": True}, "count is true: wanted a whole number from 1 to 1,000,000"),
        ({"name": "a", "count": 1.5}, "count is 1.5: wanted a whole number from 1 to 1,000,000"),
        ({"name": "a", "least": float("nan")}, "least is nan: wanted a number from 0 on"),
        ({"name": "a", "least": "3"}, "least is '3': wanted a number from 0 on"),
        ({"name": "a", "flag": 1}, "flag is 1: wanted true or false"),
        ({"name": "a", "inner": {"share": 1}}, "inner, share is 1: wanted a number above 0 and below 1"),
        ({"name": "a", "inner": {"some": [1, "x"]}}, "inner, some 2 is 'x': wanted a whole number"),
        ({"name": "a", "inners": [{}, {"shar": 1}]}, "inners 2, shar is an unknown field: wanted one of share"),
        ({"name": "a", "inners": {}}, "inners is a table: wanted a list"),
        ({"name": "a", "lists": {"x y": [1]}}, "lists, x y 1 is 1: wanted a text"),
        ({"name": "a", "perhaps": date(2026, 1, 2)}, "perhaps is the time 2026-01-02: wanted a text"),
        ({"name": "a" * 900_000 + "1"}, "name is 'aaa"),
        ({"name": "a", "b" * 900_000: 1}, "is an unknown field"),
    ],
)
def test_the_place_what_stands_there_and_what_is_wanted(document: Any, said: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Outer)
    found = str(refusal(document, Outer))
    assert said in found
    assert len(found) < 300


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2),
        st.just(2**60),
        st.floats(),
        st.sampled_from(["", "a", "high", "1d"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["fires", "transaction", "transactions", "lists", "x", "name", "bins"]), inner),
    ),
    max_leaves=6,
)


def documents(kind: Any) -> st.SearchStrategy[Any]:
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    return st.one_of(VALUES, st.dictionaries(st.sampled_from([*names, "x"]), VALUES, max_size=4))


@pytest.mark.parametrize("kind", [Outer, Rule, Specification])
@given(data=st.data())
def test_it_agrees_with_what_converts(kind: Any, data: st.DataObject) -> None:
    document = data.draw(documents(kind))
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError:
        assert refusal(document, kind) is not None
    else:
        assert refusal(document, kind) is None
