# SPDX-License-Identifier: Apache-2.0
"""Compares what a host's Open_vSwitch database should hold with what it holds: a transaction comes out.

Pure. Everything we make carries `external_ids:ovs-geneve-owner`; what does not is never touched: other
people's bridges, ports on our bridge, controllers, and keys of other_config and external_ids. Planning
again after the transaction gives no operation. A plan starts with `wait` operations on what it relies on, so
that somebody else's change in between fails the transaction instead of being overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from ovs_geneve.errors import EncodeError, NotSupported, OvsdbError
from ovs_geneve.ovsdb.operations import (
    Condition,
    Input,
    Insert,
    Mutate,
    Mutation,
    NamedUuid,
    Operation,
    Update,
    Wait,
    where_uuid,
)
from ovs_geneve.ovsdb.replica import Replica
from ovs_geneve.ovsdb.rows import Bridge, Controller, Interface, OpenVSwitch, Port, by_name, by_uuid, each
from ovs_geneve.values import Dpid, dpid
from ovs_geneve.vport import GeneveVport

OWNER_KEY = "ovs-geneve-owner"
"The key of external_ids that marks a row as ours; its value is the owner."

MTU_KEY = "ovs-geneve-mtu"
"The key of external_ids that says that an interface's mtu_request is ours, whoever made the interface."

_MADE_BY_OVS = frozenset({"internal", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient"})
"Types of interfaces whose device is vswitchd's own (ovs-vswitchd.conf.db(5), Interface: type)."

PROTOCOLS = frozenset({"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"})
"1.5 for our flows, 1.3 and 1.4 for other Ryu apps, 1.0 because `ovs-ofctl` speaks it by default."

_KNOWN_PROTOCOLS = PROTOCOLS | {"OpenFlow11", "OpenFlow12"}

T = TypeVar("T", Bridge, Port, Interface, Controller)


class NotOwned(OvsdbError):
    """Raised when a name we need is taken by a row without our mark. `table` and `name` tell which."""

    def __init__(self, table: str, name: str, owner: str | None) -> None:
        whose = f"belongs to {owner!r}" if owner else "is not ours"
        super().__init__(f"{table} {name} exists and {whose}")
        self.table = table
        self.name = name
        self.owner = owner


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProvision:
    """What one owner wants a host's database to hold: a bridge, its controller, its vports."""

    owner: str
    "Who we are; two controllers of one fabric share it."
    dpid: Dpid
    controller: str | None
    "The OpenFlow target, as `ovs-vsctl set-controller` takes it; None where the bridge's own socket is dialled."
    bridge: str = "br-int"
    datapath_type: str = ""
    "Empty for the kernel's, netdev for the userspace datapath."
    protocols: frozenset[str] = PROTOCOLS
    fail_mode: str = "secure"
    inactivity_probe: int | None = 5000
    "Milliseconds after which the bridge probes a silent controller; 0 never, None is OVS's default."
    max_backoff: int | None = 1000
    "Milliseconds, the longest wait before the bridge dials again; at least 1000."
    vports: tuple[GeneveVport, ...] = ()
    mtus: Mapping[str, int] = field(default_factory=dict)
    "What interfaces on the bridge are to carry, by their external_ids:iface-id."

    def __post_init__(self) -> None:
        for column, text in (("owner", self.owner), ("controller", self.controller), ("bridge", self.bridge)):
            if text == "":
                raise EncodeError(column, "empty")
        dpid(self.dpid)
        unknown = self.protocols - _KNOWN_PROTOCOLS
        if unknown or not self.protocols:
            raise EncodeError("protocols", f"{sorted(unknown)} are unknown" if unknown else "none")
        if self.fail_mode not in ("secure", "standalone"):
            raise EncodeError("fail_mode", f"{self.fail_mode!r} is neither secure nor standalone")
        if self.max_backoff is not None and self.max_backoff < 1000:
            raise EncodeError("max_backoff", f"{self.max_backoff} ms is less than OVS's least, 1000")
        _check_distinct("name", [self.bridge, *(vport.name for vport in self.vports)])
        _check_distinct("ofport_request", [one.ofport_request for one in self.vports if one.ofport_request])
        _check_distinct("tunnel", [_tunnel(vport) for vport in self.vports])


def _tunnel(vport: GeneveVport) -> tuple[object, ...]:
    """What must be unique among tunnels (ovs-vswitchd.conf.db(5), "Tunnel Options")."""
    return vport.remote_ip, vport.local_ip, vport.key, vport.dst_port


def _check_distinct(field: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise EncodeError(f"vports {field}", f"{value} is there twice")
        seen.add(value)


def plan_provision(desired: HostProvision, replica: Replica) -> list[Operation]:
    """Give the operations that make the database hold `desired`; none when it does.

    `replica` follows `rows.HOST_TABLES`. Bridges and vports with our mark that are no longer wanted go. Raises
    NotOwned when a name is taken, NotSupported when the database was never initialised.
    """
    root = _root(replica)
    operations = list(_strays(replica, desired.owner))
    for bridge in _owned(each(replica, Bridge), desired.owner):
        if bridge.name != desired.bridge:
            operations += _release(replica, root, bridge, desired.owner)
    present = by_name(replica, Bridge, desired.bridge)
    _check_owner("Bridge", desired.bridge, present, desired.owner)
    _check_vport_names(desired, replica)
    if present is None:
        return [*operations, *_new_bridge(desired, root)]
    changes = [
        *_bridge_columns(desired, present),
        *_controllers(desired, replica, present),
        *_ports(desired, replica, present),
        *_mtus(desired, replica, present),
    ]
    return [*operations, *([_still_ours(present, desired.owner)] if changes else []), *changes]


def plan_deprovision(replica: Replica, owner: str) -> list[Operation]:
    """Give the operations that remove what this owner made: controllers, vports, marks, bridges.

    A bridge stays, without our mark, when other people's ports are on it.
    """
    operations = list(_strays(replica, owner))
    for bridge in _owned(each(replica, Bridge), owner):
        operations += _release(replica, _root(replica), bridge, owner)
    return operations


def _root(replica: Replica) -> OpenVSwitch:
    root = next(each(replica, OpenVSwitch), None)
    if root is None:
        raise NotSupported("the row of Open_vSwitch", "a database filled by `ovs-vsctl init`")
    return root


def _owner(row: Bridge | Port | Interface | Controller) -> str | None:
    return row.external_ids.get(OWNER_KEY)


def _owned(rows: Iterable[T], owner: str) -> Iterator[T]:
    return (row for row in rows if _owner(row) == owner)


def _forget_mtus(replica: Replica, bridge: Bridge) -> Iterator[Operation]:
    for port in _present(replica, Port, bridge.ports):
        for interface in _present(replica, Interface, port.interfaces):
            if MTU_KEY in interface.external_ids:
                yield Update("Interface", where_uuid(interface.uuid), {"mtu_request": None})
                forget = (Mutation("external_ids", "delete", {MTU_KEY}),)
                yield Mutate("Interface", where_uuid(interface.uuid), forget)


def _check_owner(table: str, name: str, row: Bridge | Port | Interface | None, owner: str) -> None:
    if row is not None and _owner(row) != owner:
        raise NotOwned(table, name, _owner(row))


def _check_vport_names(desired: HostProvision, replica: Replica) -> None:
    """Refuse names that other people's ports or interfaces have; what a port of ours holds is ours."""
    names = {vport.name for vport in desired.vports}
    held: set[UUID] = set()
    for port in each(replica, Port):
        if port.name in names:
            _check_owner("Port", port.name, port, desired.owner)
        if _owner(port) == desired.owner:
            held |= port.interfaces
    for interface in each(replica, Interface):
        if interface.name in names and interface.uuid not in held:
            _check_owner("Interface", interface.name, interface, desired.owner)


def _still_ours(bridge: Bridge, owner: str) -> Wait:
    where = (*where_uuid(bridge.uuid), Condition("external_ids", "includes", {OWNER_KEY: owner}))
    return Wait("Bridge", where, ("name",), "==", ({"name": bridge.name},))


# A bridge that is not there yet.


def _new_bridge(desired: HostProvision, root: OpenVSwitch) -> list[Operation]:
    mark = {OWNER_KEY: desired.owner}
    row: dict[str, Input] = {
        "name": desired.bridge,
        "datapath_type": desired.datapath_type,
        "fail_mode": desired.fail_mode,
        "protocols": desired.protocols,
        "other_config": {"datapath-id": _dpid_text(desired.dpid)},
        "external_ids": mark,
        "controller": set() if desired.controller is None else {NamedUuid("controller")},
        "ports": {NamedUuid("local"), *(_port_id(index) for index in range(len(desired.vports)))},
    }
    return [
        Insert("Interface", {"name": desired.bridge, "type": "internal", "external_ids": mark}, "local_if"),
        _insert_port(desired.bridge, NamedUuid("local"), NamedUuid("local_if"), mark),
        *_insert_vports(enumerate(desired.vports), mark),
        *_insert_controller(desired),
        Insert("Bridge", row, "bridge"),
        Mutate(
            "Open_vSwitch", where_uuid(root.uuid), (Mutation("bridges", "insert", {NamedUuid("bridge")}),)
        ),
    ]


def _port_id(index: int) -> NamedUuid:
    return NamedUuid(f"port{index}")


def _insert_port(name: str, port: NamedUuid, interface: NamedUuid, mark: Mapping[str, str]) -> Insert:
    return Insert("Port", {"name": name, "interfaces": {interface}, "external_ids": mark}, port.name)


def _insert_vports(vports: Iterable[tuple[int, GeneveVport]], mark: Mapping[str, str]) -> Iterator[Insert]:
    for index, vport in vports:
        interface = NamedUuid(f"interface{index}")
        row = {"name": vport.name, "external_ids": mark, **_interface_columns(vport)}
        yield Insert("Interface", row, interface.name)
        yield _insert_port(vport.name, _port_id(index), interface, mark)


def _dpid_text(value: Dpid) -> str:
    return f"{value:016x}"


def _interface_columns(vport: GeneveVport) -> dict[str, Input]:
    return {"type": "geneve", "options": vport.options(), "ofport_request": vport.ofport_request}


def _controller_columns(desired: HostProvision) -> dict[str, Input]:
    return {
        "target": desired.controller,
        # When the first primary controller comes or the last one goes Open vSwitch deletes all flows, and
        # flow-restore-wait ends with the first one's coming (OVS ofproto/connmgr.c, connmgr_set_controllers).
        "type": "service",
        # In-band control would add flows of OVS's own that no table shows.
        "connection_mode": "out-of-band",
        "inactivity_probe": desired.inactivity_probe,
        "max_backoff": desired.max_backoff,
    }


# A bridge of ours that is there.


def _differing(wanted: Mapping[str, Input], row: Bridge | Interface | Controller) -> dict[str, Input]:
    return {column: value for column, value in wanted.items() if getattr(row, column) != value}


def _bridge_columns(desired: HostProvision, bridge: Bridge) -> Iterator[Operation]:
    wanted: dict[str, Input] = {
        "datapath_type": desired.datapath_type,
        "fail_mode": desired.fail_mode,
        "protocols": desired.protocols,
    }
    changed = _differing(wanted, bridge)
    if changed:
        yield Update("Bridge", where_uuid(bridge.uuid), changed)
    text = _dpid_text(desired.dpid)
    if bridge.other_config.get("datapath-id") != text:
        yield Mutate("Bridge", where_uuid(bridge.uuid), _set_key("other_config", "datapath-id", text))


def _set_key(column: str, key: str, value: str) -> tuple[Mutation, Mutation]:
    """Set one key of a map: an insert alone keeps the old value (RFC 7047 5.1, <mutation>)."""
    return Mutation(column, "delete", {key}), Mutation(column, "insert", {key: value})


def _controllers(desired: HostProvision, replica: Replica, bridge: Bridge) -> Iterator[Operation]:
    """Keep one controller of ours, the one with the right target if there is one, or none if none is wanted."""
    ours = _owned(_present(replica, Controller, bridge.controller), desired.owner)
    ordered = sorted(ours, key=lambda row: (row.target != desired.controller, row.uuid))
    kept, gone = (ordered[:1], ordered[1:]) if desired.controller is not None else ([], ordered)
    for row in kept:
        if changed := _differing(_controller_columns(desired), row):
            yield Update("Controller", where_uuid(row.uuid), changed)
    if gone:
        yield _mutate_set(bridge, "controller", "delete", {row.uuid for row in gone})
    if desired.controller is not None and not kept:
        yield from _insert_controller(desired)
        yield _mutate_set(bridge, "controller", "insert", {NamedUuid("controller")})


def _insert_controller(desired: HostProvision) -> Iterator[Insert]:
    if desired.controller is not None:
        mark = {OWNER_KEY: desired.owner}
        yield Insert("Controller", {**_controller_columns(desired), "external_ids": mark}, "controller")


def _present(replica: Replica, kind: type[T], uuids: Iterable[UUID]) -> Iterator[T]:
    for uuid in uuids:
        row = by_uuid(replica, kind, uuid)
        if row is not None:
            yield row


def _mutate_set(bridge: Bridge, column: str, mutator: str, members: set[UUID] | set[NamedUuid]) -> Mutate:
    return Mutate("Bridge", where_uuid(bridge.uuid), (Mutation(column, mutator, members),))


def _ports(desired: HostProvision, replica: Replica, bridge: Bridge) -> Iterator[Operation]:
    """Keep, change, remove and add our vports; the local port and other people's ports stay as they are."""
    vports = {vport.name: vport for vport in desired.vports}
    kept: set[str] = set()
    gone: set[UUID] = set()
    for port in _owned(_present(replica, Port, bridge.ports), desired.owner):
        interface = _only_interface(replica, port)
        if port.name in vports and interface is not None:
            kept.add(port.name)
            yield from _interface_changes(vports[port.name], interface, desired.owner)
        elif port.name != bridge.name:
            gone.add(port.uuid)
    new = [(index, vport) for index, vport in enumerate(desired.vports) if vport.name not in kept]
    if gone:
        yield _mutate_set(bridge, "ports", "delete", gone)
    if new:
        yield from _insert_vports(new, {OWNER_KEY: desired.owner})
        yield _mutate_set(bridge, "ports", "insert", {_port_id(index) for index, _ in new})


def _mtus(desired: HostProvision, replica: Replica, bridge: Bridge) -> Iterator[Operation]:
    """Ask vswitchd for the MTUs of interfaces that it makes; one that somebody else asked for stays.

    Of a pair of devices (veth, a guest's tap) it has one end: the guest would not know, and lose what is too large all
    the same. In the userspace datapath a changed MTU costs a packet now and then (docs/decisions/0004).
    """
    for port in _present(replica, Port, bridge.ports):
        for interface in _present(replica, Interface, port.interfaces):
            iface_id = interface.external_ids.get("iface-id", "") if interface.type in _MADE_BY_OVS else ""
            wanted = desired.mtus.get(iface_id)
            ours = MTU_KEY in interface.external_ids
            if wanted == interface.mtu_request or not (ours or interface.mtu_request is None):
                continue
            yield Update("Interface", where_uuid(interface.uuid), {"mtu_request": wanted})
            if ours != (wanted is not None):
                mutator = "delete" if ours else "insert"
                mark: Input = {MTU_KEY} if ours else {MTU_KEY: desired.owner}
                mutation = Mutation("external_ids", mutator, mark)
                yield Mutate("Interface", where_uuid(interface.uuid), (mutation,))


def _only_interface(replica: Replica, port: Port) -> Interface | None:
    """Give the port's one interface, None when somebody made a bond of it."""
    interfaces = list(_present(replica, Interface, port.interfaces))
    return interfaces[0] if len(interfaces) == 1 and interfaces[0].name == port.name else None


def _interface_changes(vport: GeneveVport, interface: Interface, owner: str) -> Iterator[Operation]:
    changed = _differing(_interface_columns(vport), interface)
    if changed:
        yield Update("Interface", where_uuid(interface.uuid), changed)
    if _owner(interface) != owner:
        mark = _set_key("external_ids", OWNER_KEY, owner)
        yield Mutate("Interface", where_uuid(interface.uuid), mark)


# What is no longer wanted.


def _strays(replica: Replica, owner: str) -> Iterator[Operation]:
    """Remove our vports from bridges that are not, or no longer, ours."""
    for bridge in each(replica, Bridge):
        ports = _owned(_present(replica, Port, bridge.ports), owner)
        strays = {port.uuid for port in ports if port.name != bridge.name}
        if strays and _owner(bridge) != owner:
            yield _mutate_set(bridge, "ports", "delete", strays)


def _release(replica: Replica, root: OpenVSwitch, bridge: Bridge, owner: str) -> list[Operation]:
    """Remove a bridge of ours; or only what is ours of it, when other people's ports are on it."""
    ports = list(_present(replica, Port, bridge.ports))
    if all(_owner(port) == owner or port.name == bridge.name for port in ports):
        # A port that somebody plugs in meanwhile must not go with the bridge.
        unchanged = Wait("Bridge", where_uuid(bridge.uuid), ("ports",), "==", ({"ports": bridge.ports},))
        drop = Mutation("bridges", "delete", {bridge.uuid})
        return [_still_ours(bridge, owner), unchanged, Mutate("Open_vSwitch", where_uuid(root.uuid), (drop,))]
    operations: list[Operation] = [_still_ours(bridge, owner)]
    controllers = {row.uuid for row in _owned(_present(replica, Controller, bridge.controller), owner)}
    if controllers:
        operations.append(_mutate_set(bridge, "controller", "delete", controllers))
    vports = {port.uuid for port in _owned(ports, owner) if port.name != bridge.name}
    if vports:
        operations.append(_mutate_set(bridge, "ports", "delete", vports))
    return [*operations, *_forget_mtus(replica, bridge), *_unmark(replica, bridge, ports)]


def _unmark(replica: Replica, bridge: Bridge, ports: Iterable[Port]) -> Iterator[Operation]:
    forget = (Mutation("external_ids", "delete", {OWNER_KEY}),)
    yield Mutate("Bridge", where_uuid(bridge.uuid), forget)
    for port in ports:
        if port.name == bridge.name and OWNER_KEY in port.external_ids:
            yield Mutate("Port", where_uuid(port.uuid), forget)
            for interface in _present(replica, Interface, port.interfaces):
                yield Mutate("Interface", where_uuid(interface.uuid), forget)
