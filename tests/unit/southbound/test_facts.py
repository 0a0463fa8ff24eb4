# SPDX-License-Identifier: Apache-2.0
"""What is read from a host's database, and what it should hold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from controller.hoststate import HostFacts
from controller.intent.intent import Intent
from controller.intent.model import DatapathChoice
from controller.southbound import facts
from ovs_geneve.errors import NotSupported
from ovs_geneve.ovsdb.rows import Bridge, Interface, OpenVSwitch, Port
from tests.builders import after, host, put


class Database(dict):
    """Rows by kind; of a row there is only what is read here."""

    def add(self, kind, **columns) -> UUID:
        rows = self.setdefault(kind, [])
        uuid = UUID(int=sum(map(len, self.values())) + 1)
        rows.append(SimpleNamespace(uuid=uuid, **columns))
        return uuid

    def bridge(self, *interfaces: dict, datapath_id: str | None = "6e00000000000001") -> None:
        ports = set()
        for columns in interfaces:
            plain = {"name": "tap", "external_ids": {}, "ofport": None, "error": None, **columns}
            ports.add(self.add(Port, interfaces=frozenset({self.add(Interface, **plain)})))
        self.add(Bridge, name="br-int", datapath_id=datapath_id, ports=frozenset(ports))

    def system(self, **columns) -> None:
        plain = {"ovs_version": "3.1.0", "external_ids": {}, "datapath_types": frozenset(), **columns}
        self.add(OpenVSwitch, **plain)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    def by_name(rows, kind, name):
        return next((row for row in rows.get(kind, ()) if row.name == name), None)

    def by_uuid(rows, kind, uuid):
        return next((row for row in rows.get(kind, ()) if row.uuid == uuid), None)

    monkeypatch.setattr(facts, "by_name", by_name)
    monkeypatch.setattr(facts, "by_uuid", by_uuid)
    monkeypatch.setattr(facts, "each", lambda rows, kind: iter(rows.get(kind, ())))
    return Database()


def declared(**spec):
    return after(Intent(), put("hv1", host("192.0.2.1", **spec))).hosts["hv1"]


def plugged(interface_id: str, ofport: int | None) -> dict:
    return {"name": f"tap-{interface_id}", "external_ids": {"iface-id": interface_id}, "ofport": ofport}


def test_bridge_that_is_not_there_yet(database: Database) -> None:
    assert facts.facts_of(database, "br-int") == HostFacts()
    database.bridge(datapath_id=None)
    assert facts.facts_of(database, "br-int") == HostFacts()


def test_only_interfaces_that_work_and_are_somebodys(database: Database) -> None:
    broken = (plugged("failed", -1), plugged("not-yet", None), {"name": "plain", "ofport": 7})
    database.bridge(plugged("web1", 1), plugged("db1", 2), *broken)
    database.add(Interface, **plugged("on no bridge", 9))
    found = facts.facts_of(database, "br-int")
    assert found == HostFacts(dpid=0x6E00000000000001, ofports={"web1": 1, "db1": 2})


@pytest.mark.parametrize(
    ("vport", "reason"),
    [
        ({"ofport": None}, None),
        ({"ofport": 6081}, None),
        ({"ofport": -1}, None),
        ({"ofport": 1}, "VportNumberTaken"),
        ({"ofport": -1, "error": "could not add"}, "VportFailed"),
    ],
)
def test_trouble_with_the_vport(database: Database, vport: dict, reason: str | None) -> None:
    database.system()
    database.bridge({"name": "ovs-geneve0", **vport})
    problem = facts.problem_of(database)
    assert (problem and problem.reason) == reason


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("2.12.4", True),
        ("2.13.0", False),
        ("2.17.9-dirty", False),
        ("3.1.0", False),
        ("", False),
        (None, False),
    ],
)
def test_version_that_is_too_old(database: Database, version: str | None, old: bool) -> None:
    database.system(ovs_version=version)
    problem = facts.too_old(facts.system_of(database))
    assert (problem is not None) is old
    assert problem is None or "2.12.4" in problem.message


def test_own_socket_is_found_beside_the_database_or_where_the_host_says(database: Database) -> None:
    here = declared(ovsdb="unix:/run/openvswitch/db.sock")
    assert facts.bridge_socket(database, here) == Path("/run/openvswitch/br-int.mgmt")
    with pytest.raises(NotSupported):
        facts.bridge_socket(database, declared())
    database.system(external_ids={"rundir": "/srv/ovs"})
    assert facts.bridge_socket(database, declared(bridge="br0")) == Path("/srv/ovs/br0.mgmt")


@pytest.mark.parametrize(
    ("choice", "offered", "expected"),
    [
        (DatapathChoice.AUTO, {"netdev", "system"}, "system"),
        (DatapathChoice.AUTO, {"netdev"}, "netdev"),
        (DatapathChoice.AUTO, set(), "system"),
        (DatapathChoice.NETDEV, {"netdev", "system"}, "netdev"),
        (DatapathChoice.SYSTEM, {"netdev"}, "system"),
    ],
)
def test_what_a_host_should_hold(database: Database, choice, offered, expected: str) -> None:
    database.system(datapath_types=frozenset(offered))
    wanted = declared(datapath=choice)
    provision = facts.provision_of(
        wanted, database, owner="me", controller="tcp:192.0.2.9:6653", tunnel_port=6082, mtus={"web1": 1442}
    )
    assert provision.datapath_type == expected
    assert provision.dpid == 0x6E << 56 | wanted.key
    (vport,) = provision.vports
    assert (vport.name, vport.ofport_request, vport.dst_port) == ("ovs-geneve0", 6081, 6082)
    assert (provision.owner, provision.controller) == ("me", "tcp:192.0.2.9:6653")
