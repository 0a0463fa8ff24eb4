# SPDX-License-Identifier: Apache-2.0
"""What a monitor tells becomes the intent that was written, however the server cuts and joins its updates."""

from importlib.resources import files
from random import Random
from uuid import UUID, uuid4

import pytest

from controller.intent.commands import evaluate
from controller.intent.follower import IntentFollower, OwnCommit
from controller.intent.intent import Intent, difference
from controller.intent.model import Kind
from controller.intent.rows import TABLES, encode_row
from ovs_geneve.errors import DecodeError, NotSupported, OvsGeneveError
from ovs_geneve.ovsdb.messages import RowUpdate, RowUpdate2, Update
from ovs_geneve.ovsdb.operations import encode_value
from ovs_geneve.ovsdb.schema import decode_schema
from tests.unit.compiler.operations import Operations
from tests.unit.intent.builders import after, delete, fabric, host, network, put

SCHEMA = (files("controller.intent") / "schema.ovsschema").read_bytes()


class Database:
    """The rows of an intent, and what a server would report of them since it last did."""

    def __init__(self):
        self.intent = Intent()
        self.commit = UUID(int=1)
        self._writers = {}
        self._uuids = {}
        self._state = uuid4()
        self._rows = {}
        self._reported = {}
        self._store()

    def write(self, intent, writer="anybody", commit=None):
        """Commit an intent; rows of objects that were there before stay theirs."""
        held = {(kind, name): object_ for kind in TABLES for name, object_ in intent.objects(kind).items()}
        self._uuids = {key: self._uuids.get(key) or uuid4() for key in held}
        self.intent, self.commit = intent, commit or uuid4()
        self._writers[writer] = self.commit
        self._store()

    def _store(self):
        intent = self.intent
        rows = {
            (TABLES[kind], uuid): encode_row(
                intent.get(kind, name), lambda kind, name: self._uuids[kind, name]
            )
            for (kind, name), uuid in self._uuids.items()
        }
        rows["Global", self._state] = {
            "revision": intent.revision,
            "last_key": intent.last_key,
            "commit": self.commit,
            "writers": dict(self._writers),
        }
        self._rows = rows

    def snapshot(self, *, whole=True):
        self._reported = self._rows
        rows = [key for key in self._rows if whole or key[0] == "Global"]
        return _update([(key, RowUpdate2(initial=_wire(self._rows[key]))) for key in rows], snapshot=True)

    def update(self, *, plain=False):
        """Report the difference, as `update2` does or, plain, as RFC 7047 has it."""
        before, self._reported = self._reported, self._rows
        reports = []
        for key in before.keys() | self._rows.keys():
            old, new = before.get(key), self._rows.get(key)
            if old != new:
                reports.append((key, _report(old, new, plain)))
        return _update(reports)


def _report(old, new, plain):
    if plain:
        return RowUpdate(old=_wire(old or {})) if new is None else RowUpdate(new=_wire(new))
    if new is None:
        return RowUpdate2(delete=None)
    if old is None:
        return RowUpdate2(insert=_wire(new))
    return RowUpdate2(
        modify=_wire({name: _between(old[name], new[name]) for name in new if old[name] != new[name]})
    )


def _between(old, new):
    if not isinstance(new, dict):
        return new
    gone = {key: value for key, value in old.items() if key not in new}
    return gone | {key: value for key, value in new.items() if old.get(key) != value}


def _wire(row):
    return {name: encode_value(name, value) for name, value in row.items()}


def _update(reports, *, snapshot=False):
    tables = {}
    for (table, uuid), report in reports:
        tables.setdefault(table, {})[str(uuid)] = report
    return Update(tables=tables, snapshot=snapshot)


class Told:
    """A follower of a database, and what it told."""

    def __init__(self, database):
        self.follower = IntentFollower()
        self.follower.bind(decode_schema(SCHEMA))
        self.follower.on_moved = self._moved
        self.intent = None
        self.changes = []
        self.follower.apply(database.snapshot())

    def _moved(self, intent, changes):
        if self.intent is not None:
            assert self.intent.with_changes(changes, intent.revision).tables == intent.tables
        self.intent = intent
        self.changes = list(changes)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_updates_of_any_number_of_commits_lead_to_what_was_written(seed, plain):
    random, database = Random(seed), Database()
    operations, intent = Operations(random), Intent()
    told = Told(database)
    for _ in range(400):
        try:
            decision = evaluate(intent, operations.draw())
        except OvsGeneveError:
            continue
        intent = intent.with_changes(decision.changes, intent.revision + 1)
        database.write(intent)
        if random.random() < 0.3:
            told.follower.apply(database.update(plain=plain))
            assert told.intent == intent
        elif random.random() < 0.05:
            told = Told(database)
            assert told.intent == intent


def test_an_own_commit_is_what_was_prepared():
    database = Database()
    database.write(before := fabric())
    told = Told(database)
    mine = after(told.intent, put("hv9", host("192.0.2.9")), delete("port/far1"))
    own = OwnCommit(commit=uuid4(), base=told.intent, after=mine, changes=difference(before, mine))
    told.follower.own = own
    database.write(mine, "me", own.commit)
    told.follower.apply(database.update())
    assert told.intent is mine
    assert told.follower.state.writers["me"] == own.commit
    database.write(later := after(mine, delete("host/hv9"), put("hv9", host("192.0.2.9"))))
    told.follower.apply(database.update())
    assert told.intent == later


def test_an_own_commit_joined_with_another_is_decoded():
    database = Database()
    database.write(before := fabric())
    told = Told(database)
    mine = after(told.intent, put("hv9", host("192.0.2.9")))
    own = OwnCommit(commit=uuid4(), base=told.intent, after=mine, changes=difference(before, mine))
    told.follower.own = own
    database.write(mine, "me", own.commit)
    database.write(both := after(mine, put("green", network(300)), delete("host/hv9")), "other")
    told.follower.apply(database.update())
    assert told.intent == both
    assert [change.name for change in told.changes] == ["green"]
    assert told.follower.state.writers["me"] == own.commit, "it is known to be stored"


def test_a_reconnect_asks_for_rows_only_when_global_moved():
    database = Database()
    database.write(fabric())
    told = Told(database)
    held = told.intent
    assert told.follower.keeps("Port")
    assert not told.follower.keeps("Global")
    told.follower.apply(database.snapshot(whole=False))
    assert told.intent is held
    assert not told.follower.is_outdated

    database.write(later := after(held, put("green", network(300)), delete("port/far1")))
    told.follower.apply(database.snapshot(whole=False))
    assert told.follower.is_outdated
    assert told.intent is held, "until the whole comes"
    assert not told.follower.keeps("Port")
    told.follower.apply(database.snapshot())
    assert not told.follower.is_outdated
    assert told.intent == later
    assert sorted((change.kind, change.name) for change in told.changes) == [
        (Kind.NETWORK, "green"),
        (Kind.PORT, "far1"),
    ]


def test_what_cannot_be_read_is_read_anew():
    database = Database()
    database.write(fabric())
    told = Told(database)
    stray = RowUpdate2(modify={"revision": 9})
    with pytest.raises(DecodeError, match="never reported"):
        told.follower.apply(Update(tables={"Port": {str(uuid4()): stray}}))
    assert not told.follower.keeps("Port")
    told.follower.apply(database.snapshot())
    assert told.changes == []


def test_columns_that_newer_controllers_know_do_no_harm():
    database = Database()
    database.write(fabric())
    told = Told(database)
    newer = SCHEMA.replace(
        b'"bridge": {"type": "string"},', b'"bridge": {"type": "string"}, "rack": {"type": "string"},'
    )
    told.follower.bind(decode_schema(newer))
    told.follower.apply(database.snapshot())
    (uuid, bridge) = next(
        (uuid, row["bridge"]) for (table, uuid), row in database._rows.items() if table == "Host"
    )
    report = RowUpdate2(modify={"rack": "a1", "bridge": f"{bridge}-2"})
    told.follower.apply(Update(tables={"Host": {str(uuid): report}}))
    assert [change.new.spec.bridge for change in told.changes] == [f"{bridge}-2"]


def test_an_older_schema_is_refused_with_what_to_do():
    old = decode_schema(SCHEMA.replace(b'"writers"', b'"authors"'))
    with pytest.raises(NotSupported, match=r"1\.1\.0"):
        IntentFollower().bind(old)
