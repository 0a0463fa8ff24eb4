# SPDX-License-Identifier: Apache-2.0
"""Provisioning a host: on a real database, applied by a real ovs-vswitchd (dummy devices)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from ipaddress import ip_address

import pytest

from ovs_geneve.errors import NotSupported, WaitTimedOut
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.provision import (
    MTU_KEY,
    OWNER_KEY,
    HostProvision,
    NotOwned,
    plan_deprovision,
    plan_provision,
)
from ovs_geneve.ovsdb.rows import HOST_TABLES, Bridge, Controller, Interface, Port, by_name, each
from ovs_geneve.values import Dpid, OfPort, Vni
from ovs_geneve.vport import GeneveVport
from tests.functional.ovsdb.conftest import Daemons, listens, running, until

VPORT = GeneveVport(name="geneve0", ofport_request=OfPort(10))
PEER = GeneveVport(name="peer1", remote_ip=ip_address("192.0.2.2"), key=Vni(7), ofport_request=OfPort(11))

HOST = HostProvision(
    owner="fabric1",
    dpid=Dpid(0xABC),
    controller="tcp:127.0.0.1:6653",
    datapath_type="dummy",
    vports=(VPORT,),
)


async def follow(daemons: Daemons):
    return running(OvsdbClient(daemons.remote, "Open_vSwitch", HOST_TABLES))


async def provision(client: OvsdbClient, desired: HostProvision) -> int:
    """Bring the database to what is desired; give the number of operations that took."""
    operations = plan_provision(desired, client.replica)
    await client.transact(operations)
    assert plan_provision(desired, client.replica) == []
    return len(operations)


def tables(client: OvsdbClient) -> dict:
    """All that a person could have put in, without what ovs-vswitchd writes."""
    ours = ("name", "type", "options", "ports", "interfaces", "controller", "external_ids", "other_config")
    also = (
        "fail_mode",
        "protocols",
        "target",
        "max_backoff",
        "inactivity_probe",
        "bridges",
        "ofport_request",
    )
    return {
        table: {
            uuid: {column: value for column, value in row.columns.items() if column in ours + also}
            for uuid, row in client.replica.rows(table).items()
        }
        for table in HOST_TABLES
    }


async def test_a_new_host_gets_bridge_controller_and_vport(host: Daemons):
    async with await follow(host) as client:
        await provision(client, HOST)
        await until(lambda: by_name(client.replica, Interface, "geneve0").ofport == 10, "the vport's number")
        bridge = by_name(client.replica, Bridge, "br-int")
        await until(
            lambda: by_name(client.replica, Bridge, "br-int").datapath_id == f"{0xABC:016x}", "the dpid"
        )
        assert (bridge.fail_mode, bridge.datapath_type) == ("secure", "dummy")
        assert bridge.protocols == {"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"}
        (controller,) = each(client.replica, Controller)
        assert (controller.target, controller.connection_mode) == ("tcp:127.0.0.1:6653", "out-of-band")
        assert (controller.inactivity_probe, controller.max_backoff) == (5000, 1000)
        assert by_name(client.replica, Interface, "geneve0").error is None
        shown = await asyncio.to_thread(host.tool, "ovs-ofctl", "-OOpenFlow15", "show", mgmt(host))
        assert "dpid:0000000000000abc" in shown
        assert re.search(r"\b10\(geneve0\)", shown)
        # With what ovs-vswitchd reports since, there is still nothing to do.
        assert plan_provision(HOST, client.replica) == []


async def test_a_bridge_that_waited_for_its_flows_keeps_them(host: Daemons):
    """As `ovs-ctl restart` has it: flows come back while no controller is called, and to call ours deletes none."""
    async with await follow(host) as client:
        await provision(client, HOST)
        await until(lambda: calls(client), "the controller to be called")
        host.end("ovs-vswitchd")
        host.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
        await asyncio.to_thread(host.start_vswitchd)
        await until(lambda: listens(host.folder / "br-int.mgmt"), "the bridge")
        await until(lambda: not calls(client), "the new ovs-vswitchd to call nobody")
        await asyncio.to_thread(host.tool, "ovs-ofctl", "add-flow", mgmt(host), "priority=7,actions=drop")
        host.vsctl("remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
        await until(lambda: calls(client), "the controller to be called again")
        assert "priority=7" in await asyncio.to_thread(host.tool, "ovs-ofctl", "dump-flows", mgmt(host))


def calls(client: OvsdbClient) -> list[str]:
    """How calls of controllers stand; nothing where ovs-vswitchd calls none."""
    return [row.status["state"] for row in each(client.replica, Controller) if "state" in row.status]


def mgmt(host: Daemons) -> str:
    return f"unix:{host.folder / 'br-int.mgmt'}"


async def test_every_tunable_reaches_the_tunnel(host: Daemons):
    vports = (
        replace(VPORT, local_ip=ip_address("127.0.0.1"), csum=True, ttl=33, tos=0xB8, df_default=False),
        replace(PEER, dst_port=6099, ttl="inherit", tos="inherit"),
        GeneveVport(name="six", remote_ip=ip_address("2001:db8::1"), local_ip=ip_address("2001:db8::2")),
        GeneveVport(name="anywhere", local_ip="flow", dst_port=6100, csum=False),
    )
    async with await follow(host) as client:
        await provision(client, replace(HOST, vports=vports))
        for vport in vports:
            await until(
                lambda one=vport: (by_name(client.replica, Interface, one.name).ofport or 0) > 0, vport.name
            )
            interface = by_name(client.replica, Interface, vport.name)
            assert interface.error is None
            read = GeneveVport.from_options(vport.name, interface.options, vport.ofport_request)
            assert read == vport
        shown = await asyncio.to_thread(
            host.tool, "ovs-appctl", "-t", str(host.folder / "vswitchd.ctl"), "dpif/show"
        )
        assert _configuration(shown, "geneve0") == {
            *("csum=true", "df_default=false", "key=flow", "local_ip=127.0.0.1", "remote_ip=flow"),
            *("tos=0xb8", "ttl=33"),
        }
        assert _configuration(shown, "peer1") == {
            *("dst_port=6099", "key=7", "remote_ip=192.0.2.2", "tos=inherit", "ttl=inherit")
        }
        assert _configuration(shown, "six") == {"key=flow", "local_ip=2001:db8::2", "remote_ip=2001:db8::1"}
        assert _configuration(shown, "anywhere") == {
            *("dst_port=6100", "key=flow", "local_ip=flow", "remote_ip=flow")
        }


async def test_what_ovs_refuses_shows_in_the_error_column(host: Daemons):
    """So an empty `error` above means something: OVS reads these options and says what it dislikes."""
    async with await follow(host) as client:
        await provision(client, HOST)
        wrong = ("type=geneve", "options:remote_ip=192.0.2.1", "options:local_ip=flow")
        host.vsctl("--no-wait", "add-port", "br-int", "wrong", "--", "set", "interface", "wrong", *wrong)
        await until(lambda: by_name(client.replica, Interface, "wrong"), "the vport")
        await until(lambda: by_name(client.replica, Interface, "wrong").error, "the error")
        assert by_name(client.replica, Interface, "wrong").ofport == -1


def _configuration(shown: str, vport: str) -> set[str]:
    """Read what ovs-vswitchd itself says of a tunnel: its tunables that are not the defaults."""
    (tunables,) = re.findall(rf"^ *{vport} [^(]*\(geneve: (.*)\)$", shown, re.MULTILINE)
    return set(tunables.split(", "))


@pytest.mark.parametrize(
    ("change", "operations"),
    [
        ({"controller": "ssl:192.0.2.9:6653"}, 2),
        ({"max_backoff": 2000, "inactivity_probe": None}, 2),
        ({"dpid": Dpid(0xDEF)}, 2),
        ({"fail_mode": "standalone"}, 2),
        ({"protocols": frozenset({"OpenFlow15"})}, 2),
        ({"vports": (replace(VPORT, csum=True),)}, 2),
        ({"vports": (replace(VPORT, ofport_request=None),)}, 2),
        ({"vports": ()}, 2),
        ({"vports": (VPORT, PEER)}, 4),
        ({"vports": (PEER,)}, 5),
    ],
)
async def test_a_change_touches_only_what_differs(ovsdb: Daemons, change, operations):
    """The numbers count one `wait` that guards the bridge."""
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        before = tables(client)
        assert await provision(client, replace(HOST, **change)) == operations
        kept = before["Port"].keys() & tables(client)["Port"].keys()
        assert len(kept) >= 1
        await provision(client, HOST)
        after = tables(client)
        assert by_name(client.replica, Port, "br-int").uuid in before["Port"]
        assert {row["name"] for row in after["Port"].values()} == {"br-int", "geneve0"}
        if "vports" not in change:
            assert after == before


async def test_what_others_put_there_stays(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        ovsdb.vsctl(
            *("--no-wait", "add-port", "br-int", "web1", "--", "set", "interface", "web1", "type=internal"),
            *(
                "--",
                "set",
                "bridge",
                "br-int",
                "external_ids:theirs=1",
                "other_config:hwaddr=02:00:00:00:00:01",
            ),
            *("--", "set", "interface", "geneve0", "external_ids:theirs=2"),
            *("--", "--id=@c", "create", "controller", 'target="tcp:192.0.2.77"'),
            *("--", "add", "bridge", "br-int", "controller", "@c"),
            *("--", "add-br", "br-theirs", "--", "set", "open", ".", "external_ids:theirs=3"),
        )
        await until(lambda: by_name(client.replica, Bridge, "br-theirs"), "their change")
        assert plan_provision(HOST, client.replica) == []
        changed = replace(
            HOST, dpid=Dpid(5), controller="tcp:192.0.2.8", vports=(replace(VPORT, csum=True), PEER)
        )
        await provision(client, changed)
        bridge = by_name(client.replica, Bridge, "br-int")
        assert bridge.external_ids == {OWNER_KEY: "fabric1", "theirs": "1"}
        assert bridge.other_config == {"datapath-id": f"{5:016x}", "hwaddr": "02:00:00:00:00:01"}
        assert by_name(client.replica, Interface, "geneve0").external_ids["theirs"] == "2"
        assert {one.target for one in each(client.replica, Controller)} == {"tcp:192.0.2.77", "tcp:192.0.2.8"}
        assert {port.name for port in each(client.replica, Port)} == {
            *("br-int", "geneve0", "peer1", "web1", "br-theirs")
        }


async def test_drift_is_put_right(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        before = tables(client)
        ovsdb.vsctl(
            *(
                "--no-wait",
                "set-fail-mode",
                "br-int",
                "standalone",
                "--",
                "set-controller",
                "br-int",
                "tcp:1.1.1.1",
            ),
            *("--", "set", "interface", "geneve0", "options:key=5", "options:psk=x", "type=vxlan"),
            *("--", "clear", "interface", "geneve0", "external_ids"),
            *("--", "remove", "bridge", "br-int", "other_config", "datapath-id"),
        )
        await until(lambda: by_name(client.replica, Bridge, "br-int").fail_mode == "standalone", "the drift")
        await provision(client, HOST)
        after = tables(client)
        assert after["Interface"] == before["Interface"]
        assert {one.target for one in each(client.replica, Controller)} == {HOST.controller, "tcp:1.1.1.1"}
        bridge = by_name(client.replica, Bridge, "br-int")
        assert (bridge.fail_mode, bridge.other_config["datapath-id"]) == ("secure", f"{0xABC:016x}")


async def test_a_vport_that_somebody_removed_comes_back(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        ovsdb.vsctl("--no-wait", "del-port", "geneve0")
        await until(lambda: by_name(client.replica, Port, "geneve0") is None, "the loss")
        await provision(client, HOST)
        assert (
            by_name(client.replica, Port, "geneve0").uuid in by_name(client.replica, Bridge, "br-int").ports
        )


async def test_a_vport_that_somebody_moved_comes_back(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        port = str(by_name(client.replica, Port, "geneve0").uuid)
        ovsdb.vsctl(
            *("--no-wait", "add-br", "other", "--", "remove", "bridge", "br-int", "ports", port),
            *("--", "add", "bridge", "other", "ports", port),
        )
        await until(lambda: by_name(client.replica, Bridge, "other"), "the move")
        await provision(client, HOST)
        assert (
            by_name(client.replica, Port, "geneve0").uuid in by_name(client.replica, Bridge, "br-int").ports
        )
        assert len(by_name(client.replica, Bridge, "other").ports) == 1


@pytest.mark.parametrize(
    ("command", "table", "name"),
    [
        (["add-br", "br-int"], "Bridge", "br-int"),
        (["add-br", "br0", "--", "add-port", "br0", "geneve0"], "Port", "geneve0"),
        (["add-br", "br0", "--", "add-bond", "br0", "bond", "geneve0", "x"], "Interface", "geneve0"),
    ],
)
async def test_a_name_that_is_taken_is_not_ours(ovsdb: Daemons, command, table, name):
    ovsdb.vsctl("--no-wait", *command)
    async with await follow(ovsdb) as client:
        before = tables(client)
        with pytest.raises(NotOwned) as caught:
            plan_provision(HOST, client.replica)
        assert (caught.value.table, caught.value.name, caught.value.retryable) == (table, name, False)
        assert plan_deprovision(client.replica, HOST.owner) == []
        assert tables(client) == before


async def test_two_owners_do_not_share_a_bridge(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        with pytest.raises(NotOwned, match="fabric1"):
            plan_provision(replace(HOST, owner="fabric2"), client.replica)
        assert plan_deprovision(client.replica, "fabric2") == []


async def test_another_bridge_name_moves_everything(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        await provision(client, replace(HOST, bridge="br-new"))
        assert [bridge.name for bridge in each(client.replica, Bridge)] == ["br-new"]
        assert {port.name for port in each(client.replica, Port)} == {"br-new", "geneve0"}


async def test_deprovisioning_leaves_nothing(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        empty = tables(client)
        await provision(client, replace(HOST, vports=(VPORT, PEER)))
        await client.transact(plan_deprovision(client.replica, HOST.owner))
        assert tables(client) == empty
        assert plan_deprovision(client.replica, HOST.owner) == []


async def test_deprovisioning_leaves_a_bridge_with_other_peoples_ports(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        ovsdb.vsctl("--no-wait", "add-port", "br-int", "web1")
        await until(lambda: by_name(client.replica, Port, "web1"), "their port")
        await client.transact(plan_deprovision(client.replica, HOST.owner))
        assert {port.name for port in each(client.replica, Port)} == {"br-int", "web1"}
        assert not list(each(client.replica, Controller))
        marked = [
            row
            for kind in (Bridge, Port, Interface)
            for row in each(client.replica, kind)
            if row.external_ids
        ]
        assert marked == []
        assert plan_deprovision(client.replica, HOST.owner) == []


async def test_a_port_plugged_in_meanwhile_saves_the_bridge(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        operations = plan_deprovision(client.replica, HOST.owner)
        ovsdb.vsctl("--no-wait", "add-port", "br-int", "web1")
        with pytest.raises(WaitTimedOut):
            await client.transact(operations)
        assert by_name(client.replica, Port, "web1")
        assert by_name(client.replica, Port, "geneve0")


async def test_a_bridge_replaced_meanwhile_is_not_touched(ovsdb: Daemons):
    async with await follow(ovsdb) as client:
        await provision(client, HOST)
        operations = plan_provision(replace(HOST, vports=(VPORT, PEER)), client.replica)
        ovsdb.vsctl("--no-wait", "del-br", "br-int", "--", "add-br", "br-int")
        with pytest.raises(WaitTimedOut):
            await client.transact(operations)
        assert by_name(client.replica, Port, "peer1") is None


async def test_a_database_that_was_never_initialised_says_so(daemons: Daemons):
    daemons.create_database()
    daemons.start_ovsdb()
    async with await follow(daemons) as client:
        with pytest.raises(NotSupported, match="ovs-vsctl init"):
            plan_provision(HOST, client.replica)
        assert plan_deprovision(client.replica, HOST.owner) == []


async def test_a_thousand_vports_in_one_transaction(ovsdb: Daemons):
    vports = tuple(
        GeneveVport(name=f"p{number}", remote_ip=ip_address(f"10.0.{number >> 8}.{number & 255}"))
        for number in range(1, 1001)
    )
    async with await follow(ovsdb) as client:
        await provision(client, replace(HOST, vports=vports))
        assert len(client.replica.rows("Interface")) == 1001
        # One more costs one more, not a thousand.
        assert await provision(client, replace(HOST, vports=(*vports, VPORT))) == 4


async def test_interfaces_are_asked_to_carry_what_their_network_does(host: Daemons):
    def interface(name: str) -> Interface:
        found = by_name(client.replica, Interface, name)
        assert found is not None
        return found

    async with await follow(host) as client:
        await provision(client, HOST)
        for name, iface, kind, mtu in (
            ("tap1", "web1", "internal", None),
            ("tap2", "db1", "internal", 1400),
            ("tap3", "stranger", "internal", None),
            ("tap4", "vm1", "dummy", None),
        ):
            wanted = [] if mtu is None else [f"mtu_request={mtu}"]
            ids = f"external_ids:iface-id={iface}"
            add = ("add-port", "br-int", name, "--", "set", "interface", name, f"type={kind}", ids)
            await asyncio.to_thread(host.tool, "ovs-vsctl", f"--db={host.remote}", *add, *wanted)
        await until(lambda: by_name(client.replica, Interface, "tap4") is not None, "the last interface")

        desired = replace(HOST, mtus={"web1": 1442, "db1": 1442, "vm1": 1442})
        await provision(client, desired)
        await until(lambda: interface("tap1").mtu == 1442, "vswitchd to set the MTU")
        assert interface("tap1").mtu_request == 1442
        assert interface("tap2").mtu_request == 1400, "somebody else asked for that"
        assert interface("tap3").mtu_request is None
        assert interface("tap4").mtu_request is None, "vswitchd did not make it"

        await provision(client, replace(HOST, mtus={"web1": 1424}))
        assert interface("tap1").mtu_request == 1424
        await provision(client, HOST)
        assert interface("tap1").mtu_request is None
        assert MTU_KEY not in interface("tap1").external_ids

        await provision(client, desired)
        await client.transact(plan_deprovision(client.replica, HOST.owner))
        await until(lambda: interface("tap1").mtu_request is None, "our request to go with us")
        assert interface("tap2").mtu_request == 1400
