"""Repeated keys, found by counting or by reading: the two must agree on every text."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, model_validator
from typing_extensions import TypedDict

from quadra_matrix.api.jsontext import inspect
from quadra_matrix.api.problem import Problem
from quadra_matrix.api.shape import Shape
from quadra_matrix.api.validation import read_body


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    size: float = 0


class Label(TypedDict):
    text: str


class Branch(BaseModel):
    kind: Literal["branch"] = "branch"
    leaves: list[Leaf] = []
    spare: Leaf | None = Leaf(size=1)
    either: Leaf | str | None = None
    table: dict[str, Leaf] = {}
    numbers: dict[str, int] = {}
    label: Label = {"text": "none"}


class Tree(BaseModel):
    branches: list[Branch]
    tagged: list[Leaf | Branch] = []
    note: str = ""


LEAVES = st.fixed_dictionaries({}, optional={"kind": st.just("leaf"), "size": st.integers(0, 9)})
LABELS = st.fixed_dictionaries({"text": st.sampled_from(["", "a:b", '"', "\\u0000", "NaN"])})
BRANCHES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.just("branch"),
        "leaves": st.lists(LEAVES, max_size=2),
        "spare": st.none() | LEAVES,
        "either": st.none() | st.just("x") | LEAVES,
        "table": st.dictionaries(st.sampled_from("ab"), LEAVES),
        "numbers": st.dictionaries(st.sampled_from("ab"), st.just(1)),
        "label": LABELS,
    },
)
TREES = st.fixed_dictionaries(
    {"branches": st.lists(BRANCHES, max_size=2)}, optional={"tagged": st.lists(LEAVES, max_size=2), "note": st.text()}
)


def written(value: Any, repeat: st.DataObject) -> str:
    """Write JSON, now and then repeating a member."""
    if isinstance(value, list):
        return f"[{','.join(written(item, repeat) for item in value)}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    members = [f"{json.dumps(key)} :{written(member, repeat)}" for key, member in value.items()]
    twice = repeat.draw(st.sampled_from(range(8))) == 0 and members
    return "{" + ",".join([*members, members[0]] if twice else members) + "}"


@given(TREES, st.data())
def test_counting_and_reading_find_the_same_repeated_keys(tree: dict[str, Any], data: st.DataObject) -> None:
    raw = written(tree, data).encode()

    answer = read_body(SHAPE, raw)

    found = inspect(raw)
    assert isinstance(answer, Problem) == bool(found.syntax or found.values)


SHAPE = Shape(Tree)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,a1eE+-.N \\u0', max_size=40).map(str.encode))
def test_no_bytes_at_all_raise(raw: bytes) -> None:
    answer = read_body(ANYTHING, raw)

    if not isinstance(answer, Problem):
        assert json.dumps(answer, allow_nan=False)


ANYTHING = Shape(dict[str, Any] | list[Any] | float | str | None)


class Sets(BaseModel):
    """Sets a field that the text did not."""

    a: int = 0
    b: int = 0

    def model_post_init(self, context: Any) -> None:
        self.b = 2


class Checked(BaseModel):
    a: int = 0
    b: int = 0

    @model_validator(mode="after")
    def fill(self) -> Checked:
        self.b = 3
        return self


class Open(BaseModel, extra="allow"):
    a: int = 0


class Node(BaseModel):
    a: int = 0
    below: Node | None = None


class Rows(RootModel[dict[str, int]]):
    pass


@pytest.mark.parametrize("kind", [Sets, Checked, Open, Node, Rows, dict[str, Any], Leaf | Label])
def test_where_the_count_is_uncertain_the_text_is_read_again(kind: Any) -> None:
    shape = Shape(kind)

    answer = read_body(shape, b'{"a": 1, "a": 2}' if kind != Leaf | Label else b'{"text": "", "text": ""}')

    assert shape.count_keys is None
    assert isinstance(answer, Problem)
    assert answer.status == 400


@pytest.mark.parametrize("kind", [Tree, Label, dict[str, int], list[Leaf], list[list[float]], Leaf | None, float])
def test_where_the_count_is_certain_no_text_is_read_twice(kind: Any) -> None:
    assert Shape(kind).count_keys is not None


@pytest.mark.parametrize("raw", [b"1e999", b'{"a": [{"b": -1e999}]}', b'["\\u0000"]', b'{"\\u0000": 1}'])
def test_values_that_no_schema_forbids_are_refused_all_the_same(raw: bytes) -> None:
    answer = read_body(ANYTHING, raw)

    assert isinstance(answer, Problem)
    assert answer.status == 422


class Deep(BaseModel):
    rows: list[Leaf] = Field(max_length=3)


def test_at_most_a_hundred_errors_are_listed() -> None:
    answer = read_body(Shape(list[int]), json.dumps(["x"] * 250).encode())

    assert isinstance(answer, Problem)
    assert (len(answer.errors), answer.detail) == (100, "250 errors; the first 100 are listed")
