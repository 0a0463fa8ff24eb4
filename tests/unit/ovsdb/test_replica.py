# SPDX-License-Identifier: Apache-2.0
"""A replica follows what a monitor reports: snapshots, differences, reconnects, and nonsense."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ovs_geneve.errors import DecodeError, NotSupported
from ovs_geneve.ovsdb.messages import Update, decode_message, decode_monitor_reply, decode_notification
from ovs_geneve.ovsdb.operations import encode_value
from ovs_geneve.ovsdb.replica import NO_TXN, Replica, Row, RowChange
from ovs_geneve.ovsdb.rows import Manager, typed
from ovs_geneve.ovsdb.schema import NO_UUID, ColumnType, decode_schema

A, B, C = (UUID(int=number) for number in (1, 2, 3))

SCHEMA = {
    "name": "db",
    "version": "1.0.0",
    "tables": {
        "T": {
            "columns": {
                "name": {"type": "string"},
                "size": {"type": {"key": {"type": "integer", "minInteger": 0}}},
                "tag": {"type": {"key": "integer", "min": 0, "max": 1}},
                "members": {"type": {"key": {"type": "uuid", "refTable": "T"}, "min": 0, "max": "unlimited"}},
                "ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
                "one_pair": {"type": {"key": "string", "value": "integer", "min": 0, "max": 1}},
                "rate": {"type": "real"},
                "up": {"type": "boolean"},
                "parent": {"type": "uuid"},
                "some": {"type": {"key": "string", "min": 1, "max": 3}},
            }
        },
        "U": {"columns": {"name": {"type": "string"}}},
    },
}
COLUMNS = tuple(SCHEMA["tables"]["T"]["columns"])


def schema(document=SCHEMA):
    return decode_schema(json.dumps(document).encode())


def replica(columns=COLUMNS, **tables):
    made = Replica({"T": columns, **tables})
    made.bind(schema())
    return made


def snapshot(rows, **kind):
    return reply("monitor_cond", {"T": {str(uuid): {"initial": row} for uuid, row in rows.items()}})


def reply(method, result):
    return decode_monitor_reply(method, Raw(json.dumps(result).encode()))


def update2(uuid, **change):
    return notification("update2", {"T": {str(uuid): change}})


def notification(method, *params):
    text = json.dumps({"id": None, "method": method, "params": ["m", *params]}).encode()
    result = decode_notification(decode_message(text))
    assert result is not None
    return result[1]


def test_columns_left_out_have_the_defaults_of_their_types():
    made = replica()
    made.apply(snapshot({A: {}}))
    assert dict(made.rows("T")[A].columns) == {
        "name": "",
        "size": 0,
        "tag": None,
        "members": frozenset(),
        "ids": {},
        "one_pair": {},
        "rate": 0.0,
        "up": False,
        "parent": NO_UUID,
        "some": frozenset({""}),
    }


def test_each_type_becomes_its_python_value():
    made = replica()
    wire = {
        "name": "n",
        "tag": 7,
        "members": ["uuid", str(B)],
        "ids": ["map", [["k", "v"]]],
        "rate": 5,
        "up": True,
        "parent": ["uuid", str(C)],
        "some": ["set", ["x", "y"]],
    }
    made.apply(snapshot({A: wire}))
    row = made.rows("T")[A]
    assert (row.uuid, row["name"], row["tag"], row["members"]) == (A, "n", 7, frozenset({B}))
    assert (row["ids"], row["rate"], row["up"], row["parent"]) == ({"k": "v"}, 5.0, True, C)
    assert type(row["rate"]) is float
    with pytest.raises(TypeError):
        row["ids"]["k"] = "w"
    with pytest.raises(TypeError):
        row.columns["name"] = "other"


@pytest.mark.parametrize(
    ("column", "before", "difference", "after"),
    [
        ("name", "a", "b", "b"),
        ("tag", 1, 2, 2),
        ("tag", 1, ["set", []], None),
        ("tag", ["set", []], 3, 3),
        ("members", ["uuid", str(A)], ["uuid", str(B)], {A, B}),
        ("members", ["set", [["uuid", str(A)], ["uuid", str(B)]]], ["uuid", str(A)], {B}),
        ("ids", ["map", [["k", "v"]]], ["map", [["k", "v"]]], {}),
        ("ids", ["map", [["k", "v"]]], ["map", [["k", "w"]]], {"k": "w"}),
        ("ids", ["map", [["k", "v"]]], ["map", [["l", "v"]]], {"k": "v", "l": "v"}),
        # At most one pair: the difference is the new value, even when it equals a part of the old one.
        ("one_pair", ["map", [["k", 1]]], ["map", [["l", 2]]], {"l": 2}),
    ],
)
def test_modify_tells_a_difference(column, before, difference, after):
    made = replica()
    made.apply(snapshot({A: {column: before}}))
    old = made.rows("T")[A]
    (change,) = made.apply(update2(A, modify={column: difference}))
    assert made.rows("T")[A][column] == after
    assert (change.old, change.new) == (old, made.rows("T")[A])
    assert {name for name in COLUMNS if old[name] != change.new[name]} == {column}


sets = st.frozensets(st.integers(0, 9))
maps = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"))


@given(sets, sets)
def test_the_difference_of_any_two_sets_leads_from_one_to_the_other(old, new):
    column = ColumnType("integer", None, 0, None)
    assert column.apply(old, encode_value("c", old ^ new)) == new


@given(maps, maps)
def test_the_difference_of_any_two_maps_leads_from_one_to_the_other(old, new):
    column = ColumnType("string", "string", 0, None)
    gone = {key: value for key, value in old.items() if key not in new}
    come = {key: value for key, value in new.items() if old.get(key) != value}
    assert column.apply(column.decode(encode_value("c", old)), encode_value("c", gone | come)) == new


def test_insert_and_delete_are_reported_once():
    made = replica(("name",))
    made.apply(snapshot({}))
    (born,) = made.apply(update2(A, insert={"name": "a"}))
    assert (born.old, born.new) == (None, made.get("T", A))
    (gone,) = made.apply(update2(A, delete=None))
    assert (gone.old, gone.new, made.get("T", A)) == (born.new, None, None)
    assert made.apply(update2(A, delete=None)) == []


def test_the_plain_monitor_of_rfc_7047_works_alike():
    made = replica(("name", "size"))
    changes = made.apply(reply("monitor", {"T": {str(A): {"new": {"name": "a", "size": 1}}}}))
    assert [change.new["name"] for change in changes] == ["a"]
    made.apply(notification("update", {"T": {str(A): {"old": {"size": 1}, "new": {"name": "a", "size": 2}}}}))
    assert made.rows("T")[A]["size"] == 2
    made.apply(notification("update", {"T": {str(A): {"old": {"name": "a", "size": 2}}}}))
    assert made.get("T", A) is None


def test_after_a_reconnect_only_real_changes_are_reported():
    made = replica(("name",))
    made.apply(snapshot({A: {"name": "a"}, B: {"name": "b"}}))
    kept = made.rows("T")[A]
    changes = made.apply(snapshot({A: {"name": "a"}, C: {"name": "c"}}))
    assert {
        (change.uuid, change.old and change.old["name"], change.new and change.new["name"])
        for change in changes
    } == {
        (B, "b", None),
        (C, None, "c"),
    }
    assert made.rows("T")[A] is kept


def test_a_snapshot_without_a_table_empties_it():
    made = replica(("name",))
    made.apply(snapshot({A: {}}))
    assert made.apply(reply("monitor_cond", {})) == [RowChange("T", A, changes_old(made, A), None)]


def changes_old(made, uuid):
    """The row as it was: all defaults."""
    fresh = replica(("name",))
    fresh.apply(snapshot({uuid: {}}))
    return fresh.get("T", uuid)


def test_the_transaction_id_is_kept_for_the_next_monitor():
    made = replica(("name",))
    made.apply(reply("monitor_cond_since", [False, "t1", {"T": {str(A): {"initial": {"name": "a"}}}}]))
    assert made.last_txn_id == "t1"
    made.apply(notification("update3", "t2", {"T": {str(B): {"insert": {}}}}))
    assert made.last_txn_id == "t2"
    changes = made.apply(
        reply("monitor_cond_since", [True, "t3", {"T": {str(A): {"modify": {"name": "x"}}}}])
    )
    assert ([change.uuid for change in changes], made.last_txn_id, len(made.rows("T"))) == ([A], "t3", 2)


def test_a_server_without_transaction_ids_leaves_none():
    made = replica(("name",))
    made.apply(reply("monitor_cond_since", [False, NO_TXN, {}]))
    assert made.last_txn_id is None


@pytest.mark.parametrize(
    ("update", "where"),
    [
        ({"T": {str(A): {"modify": {"name": 1}}}}, "T.name"),
        ({"T": {str(A): {"modify": {"tag": ["set", [1, 2]]}}}}, "T.tag"),
        ({"T": {str(A): {"modify": {"members": ["uuid", "x"]}}}}, "T.members"),
        ({"T": {str(A): {"modify": {"ids": "x"}}}}, "T.ids"),
        ({"T": {str(A): {"modify": {"ids": ["map", [["k"]]]}}}}, "T.ids"),
        ({"T": {str(A): {"modify": {"ids": ["map", [[["k"], "v"]]]}}}}, "T.ids"),
        ({"T": {str(A): {"modify": {"up": 1}}}}, "T.up"),
        ({"T": {str(A): {"modify": {"size": True}}}}, "T.size"),
        ({"T": {str(A): {"modify": {"rate": "1"}}}}, "T.rate"),
        ({"T": {str(A): {"modify": {"secret": 1}}}}, "T.secret"),
        ({"T": {str(C): {"modify": {"name": "c"}}}}, f"T {C}"),
        ({"T": {str(A): {}}}, f"T {A}"),
        ({"T": {"x": {"delete": None}}}, "update of T"),
        ({"V": {str(A): {"delete": None}}}, "update of V"),
    ],
)
def test_nonsense_changes_nothing_and_the_next_monitor_starts_anew(update, where):
    made = replica()
    made.apply(reply("monitor_cond_since", [False, "t1", {"T": {str(A): {"initial": {"name": "a"}}}}]))
    before = dict(made.rows("T"))
    good = {str(B): {"insert": {"name": "b"}}}
    merged = {
        "T": good,
        **{table: {**good, **rows} if table == "T" else rows for table, rows in update.items()},
    }
    with pytest.raises(DecodeError) as caught:
        made.apply(notification("update2", merged))
    assert where in caught.value.where
    assert dict(made.rows("T")) == before
    assert made.last_txn_id is None


@pytest.mark.parametrize(
    ("tables", "name"),
    [({"T": ["name", "nonsense"]}, "column T.nonsense"), ({"Nonsense": ["name"]}, "table Nonsense")],
)
def test_what_the_server_lacks_is_named(tables, name):
    with pytest.raises(NotSupported) as caught:
        Replica(tables).bind(schema())
    assert caught.value.feature == name


def test_an_optional_column_may_be_missing():
    made = replica(("name?", "nonsense?"))
    assert made.monitored() == {"T": ["name"]}
    made.apply(snapshot({A: {"name": "a"}}))
    assert dict(made.rows("T")[A].columns) == {"name": "a"}


def test_a_schema_that_changed_asks_for_everything_again():
    made = replica(("name", "size?"))
    made.apply(
        reply("monitor_cond_since", [False, "t1", {"T": {str(A): {"initial": {"name": "a", "size": 3}}}}])
    )
    older = json.loads(json.dumps(SCHEMA))
    del older["tables"]["T"]["columns"]["size"]
    made.bind(schema(older))
    assert made.last_txn_id is None
    (change,) = made.apply(snapshot({A: {"name": "a"}}))
    assert (dict(change.old.columns), dict(change.new.columns)) == ({"name": "a", "size": 3}, {"name": "a"})
    made.bind(schema(older))
    assert made.rows("T")[A] is change.new


def test_find_compares_every_named_column():
    made = replica(("name", "size"))
    made.apply(snapshot({A: {"name": "a", "size": 1}, B: {"name": "a", "size": 2}}))
    assert [row.uuid for row in made.find("T", name="a", size=2)] == [B]


@pytest.mark.parametrize(
    "document",
    [
        {"name": "db"},
        {"name": "db", "tables": {"T": {"columns": {"c": {"type": "text"}}}}},
        {"name": "db", "tables": {"T": {"columns": {"c": {"type": {"key": "string", "max": "many"}}}}}},
        {"name": "db", "tables": {"T": {"columns": {"c": {"type": {"key": {"type": "text"}}}}}}},
    ],
)
def test_a_broken_schema_is_a_decode_error(document):
    with pytest.raises(DecodeError):
        schema(document)


def test_an_empty_update_changes_nothing():
    made = replica(("name",))
    assert made.apply(Update(tables={})) == []


def test_a_row_is_read_once_and_a_changed_one_anew() -> None:
    nothing = {
        "max_backoff": None,
        "inactivity_probe": None,
        "external_ids": {},
        "status": {},
    }
    row = Row("Manager", UUID(int=1), {"target": "ptcp:6640", "is_connected": True, **nothing})
    changed = Row("Manager", UUID(int=1), {**row.columns, "is_connected": False})
    assert typed(row, Manager) is typed(row, Manager)
    assert typed(row, Manager) == Manager.from_row(row)
    assert not typed(changed, Manager).is_connected
    fresh = Row("Manager", UUID(int=1), row.columns)
    assert row == fresh, "what was made of a row is no part of it"
    assert (row != fresh, row != changed) == (False, True)
    assert hash(row) == hash(changed)
    assert row != "a row"
