"""JSON patch, merge patch and strategic merge patch, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.testing.kubernetes.kinds import DEPLOYMENT, SERVICE
from quadra_matrix.testing.kubernetes.patches import json_patched, merge_patched
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.schemas import schemas
from quadra_matrix.testing.kubernetes.strategic import strategic_patched
from tests.testing.kubernetes.manifests import Json, deployment

SCHEMAS = schemas("1.32")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


def patched(thing: Json, *operations: Json) -> Json:
    return json_patched(thing, list(operations))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/b", "value": 2}, {"a": [1, 3], "b": 2}),
        ({"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"op": "add", "path": "/a/-", "value": 4}, {"a": [1, 3, 4]}),
        ({"op": "replace", "path": "/a/0", "value": 0}, {"a": [0, 3]}),
        ({"op": "replace", "path": "/a", "value": "x"}, {"a": "x"}),
        ({"op": "remove", "path": "/a/0"}, {"a": [3]}),
        ({"op": "remove", "path": "/a"}, {}),
        ({"op": "move", "from": "/a", "path": "/b"}, {"b": [1, 3]}),
        ({"op": "copy", "from": "/a/1", "path": "/b"}, {"a": [1, 3], "b": 3}),
        ({"op": "add", "path": "", "value": {"c": 1}}, {"c": 1}),
        ({"op": "test", "path": "/a", "value": [1, 3]}, {"a": [1, 3]}),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) and "op" in value else "",
)
def test_each_operation(operation: Json, expected: Json) -> None:
    assert patched({"a": [1, 3]}, operation) == expected


def test_a_name_may_hold_a_slash_and_a_tilde() -> None:
    operation = {"op": "replace", "path": "/example.org~1a~0b", "value": 2}

    assert patched({"example.org/a~b": 1}, operation) == {"example.org/a~b": 2}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "test", "path": "/a", "value": [1]}, 422),
        ({"op": "test", "path": "/flag", "value": 1}, 422),
        ({"op": "test", "path": "/none", "value": 1}, 422),
        ({"op": "replace", "path": "/none", "value": 1}, 422),
        ({"op": "remove", "path": "/none"}, 422),
        ({"op": "remove", "path": ""}, 422),
        ({"op": "add", "path": "/none/deep", "value": 1}, 422),
        ({"op": "add", "path": "/a/9", "value": 1}, 422),
        ({"op": "add", "path": "/text/x", "value": 1}, 422),
        ({"op": "add", "path": "", "value": 1}, 422),
        ({"op": "add", "path": "/b"}, 400),
        ({"op": "add", "path": "b", "value": 1}, 400),
        ({"op": "dance", "path": "/a"}, 400),
        ({}, 400),
        ("add", 400),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(operation: Any, code: int) -> None:
    before = {"a": [1, 3], "flag": True, "text": "t"}

    with pytest.raises(Refused) as refused:
        patched(before, {"op": "add", "path": "/a/0", "value": 0}, operation)

    assert refused.value.code == code
    assert before == {"a": [1, 3], "flag": True, "text": "t"}


def test_a_json_patch_is_a_list() -> None:
    with pytest.raises(Refused, match="list of operations"):
        json_patched({}, {"op": "add"})


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_may_be_repeated(thing: Json, patch: Json) -> None:
    """RFC 7386: merging the same patch again changes nothing."""
    once = merge_patched(thing, patch)

    assert merge_patched(once, patch) == once
    assert all(key not in once for key, value in patch.items() if value is None)


def containers(thing: Json) -> list[tuple[str, str]]:
    found = thing["spec"]["template"]["spec"]["containers"]
    return [(each["name"], each["image"]) for each in found]


def strategic(*items: Json, **more: Any) -> Json:
    patch = {"spec": {"template": {"spec": {"containers": list(items), **more}}}}
    return strategic_patched(deployment(), patch, SCHEMAS.of(DEPLOYMENT))


def test_a_container_may_be_added_changed_and_taken_away() -> None:
    changed = strategic(
        {"name": "web", "image": "shop:2"}, {"name": "proxy", "$patch": "delete"}, {"name": "new", "image": "new:1"}
    )

    assert containers(changed) == [("web", "shop:2"), ("new", "new:1")]


def test_a_list_may_be_replaced_as_a_whole() -> None:
    assert containers(strategic({"$patch": "replace"}, {"name": "only", "image": "only:1"})) == [("only", "only:1")]


def test_the_order_of_a_list_may_be_set() -> None:
    order = {"$setElementOrder/containers": [{"name": "proxy"}, {"name": "web"}]}

    assert containers(strategic(**order)) == [("proxy", "proxy:1"), ("web", "shop:1")]


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(Refused, match="declared merge key: name"):
        strategic({"image": "shop:2"})


def test_an_object_may_be_replaced_deleted_or_kept_in_part() -> None:
    schema = SCHEMAS.of(DEPLOYMENT)
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}

    def strategy(change: Json) -> Any:
        return strategic_patched(before, {"spec": {"strategy": change}}, schema)["spec"].get("strategy")

    assert strategy({"$retainKeys": ["type"], "type": "Recreate"}) == {"type": "Recreate"}
    assert strategy({"$patch": "replace", "type": "Recreate"}) == {"type": "Recreate"}
    assert strategy({"$patch": "delete"}) is None
    assert strategy({"rollingUpdate": {"maxUnavailable": 0}})["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_lists_of_primitives_are_sets_where_the_schema_says_so() -> None:
    schema = SCHEMAS.of(SERVICE)
    before = {"metadata": {"finalizers": ["a", "b"]}, "spec": {"ports": [{"port": 80, "name": "http"}]}}

    added = strategic_patched(before, {"metadata": {"finalizers": ["b", "c"]}}, schema)
    taken = strategic_patched(before, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, schema)
    ports = strategic_patched(before, {"spec": {"ports": [{"port": 80, "targetPort": 1}]}}, schema)

    assert added["metadata"]["finalizers"] == ["a", "b", "c"]
    assert taken["metadata"]["finalizers"] == ["b"]
    assert ports["spec"]["ports"] == [{"port": 80, "name": "http", "targetPort": 1}]
