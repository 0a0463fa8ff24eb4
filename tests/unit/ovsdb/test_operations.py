# SPDX-License-Identifier: Apache-2.0
"""Operations as RFC 7047 5.2 writes them."""

from __future__ import annotations

from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.operations import (
    Abort,
    Assert,
    Comment,
    Commit,
    Condition,
    Delete,
    Insert,
    Mutate,
    Mutation,
    NamedUuid,
    Select,
    Update,
    Wait,
    encode_operation,
    encode_value,
    where_uuid,
)
from ovs_geneve.ovsdb.schema import ColumnType

U = UUID("11111111-2222-4333-8444-555555555555")
IS_U = ["_uuid", "==", ["uuid", str(U)]]


@pytest.mark.parametrize(
    ("operation", "wire"),
    [
        (Insert("T", {"a": 1}), {"op": "insert", "table": "T", "row": {"a": 1}}),
        (Insert("T", {}, "x"), {"op": "insert", "table": "T", "row": {}, "uuid-name": "x"}),
        (Select("T"), {"op": "select", "table": "T", "where": []}),
        (Select("T", (), ["a"]), {"op": "select", "table": "T", "where": [], "columns": ["a"]}),
        (
            Update("T", where_uuid(U), {"a": None}),
            {"op": "update", "table": "T", "where": [IS_U], "row": {"a": ["set", []]}},
        ),
        (
            Mutate("T", (), (Mutation("m", "delete", {"k"}), Mutation("m", "insert", {"k": "v"}))),
            {
                "op": "mutate",
                "table": "T",
                "where": [],
                "mutations": [["m", "delete", ["set", ["k"]]], ["m", "insert", ["map", [["k", "v"]]]]],
            },
        ),
        (
            Delete("T", (Condition("a", "includes", {2, 1}),)),
            {"op": "delete", "table": "T", "where": [["a", "includes", ["set", [1, 2]]]]},
        ),
        (
            Wait("T", where_uuid(U), ["a"], "==", [{"a": True}]),
            {
                "op": "wait",
                "table": "T",
                "where": [IS_U],
                "columns": ["a"],
                "until": "==",
                "rows": [{"a": True}],
                "timeout": 0,
            },
        ),
        (Commit(), {"op": "commit", "durable": True}),
        (Abort(), {"op": "abort"}),
        (Comment("é"), {"op": "comment", "comment": "é"}),
        (Assert("lock"), {"op": "assert", "lock": "lock"}),
    ],
    ids=lambda one: one["op"] if isinstance(one, dict) else type(one).__name__,
)
def test_operation(operation, wire):
    assert encode_operation(operation) == wire


def test_a_wait_for_ever_has_no_timeout():
    assert "timeout" not in encode_operation(Wait("T", (), (), "!=", (), timeout=None))


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (True, True),
        (1.5, 1.5),
        (-(2**63), -(2**63)),
        ("", ""),
        (NamedUuid("a_1"), ["named-uuid", "a_1"]),
        (("b", "a", "b"), ["set", ["a", "b"]]),
        ([U, NamedUuid("n")], ["set", [["named-uuid", "n"], ["uuid", str(U)]]]),
        (MappingProxyType({2: U, 1: U}), ["map", [[1, ["uuid", str(U)]], [2, ["uuid", str(U)]]]]),
    ],
)
def test_value(value, wire):
    assert encode_value("c", value) == wire


@pytest.mark.parametrize(
    "value", [2**63, float("nan"), float("inf"), b"x", object(), "a\0b", "\ud800", {"k": b""}, ({"a": 1},)]
)
def test_a_value_that_ovsdb_lacks_names_its_column(value):
    with pytest.raises(EncodeError) as caught:
        encode_operation(Insert("T", {"column": value}))
    assert caught.value.field == "column"


@pytest.mark.parametrize(
    "build",
    [
        lambda: NamedUuid("a-b"),
        lambda: NamedUuid("a\n"),
        lambda: Insert("T", {}, "1"),
        lambda: Condition("a", "=", 1),
        lambda: Mutation("a", "add", 1),
        lambda: Wait("T", (), (), "=", ()),
    ],
)
def test_what_the_protocol_lacks_cannot_be_built(build):
    with pytest.raises(EncodeError):
        build()


atoms = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "string": st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "uuid": st.uuids(),
}


@st.composite
def typed_values(draw):
    key = draw(st.sampled_from(sorted(atoms)))
    match draw(st.sampled_from(["one", "optional", "set", "map"])):
        case "one":
            return ColumnType(key), draw(atoms[key])
        case "optional":
            return ColumnType(key, None, 0), draw(st.none() | atoms[key])
        case "set":
            return ColumnType(key, None, 0, None), draw(st.frozensets(atoms[key], max_size=4))
        case _:
            value = draw(st.sampled_from(sorted(atoms)))
            return ColumnType(key, value, 0, None), draw(
                st.dictionaries(atoms[key], atoms[value], max_size=4)
            )


@given(typed_values())
def test_what_is_written_is_read_back(case):
    column, value = case
    assert column.decode(encode_value("c", value)) == value
