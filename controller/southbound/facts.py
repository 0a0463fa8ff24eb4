# SPDX-License-Identifier: Apache-2.0
"""What a host's database says, and what it should say: between typed OVSDB rows and the controller's values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

from controller.compiler.pipeline import TUNNEL_NAME, TUNNEL_OFPORT
from controller.hoststate import HostFacts
from controller.intent.model import DatapathChoice, HostSpec, Object
from controller.southbound.ports import Problem
from ovs_geneve.errors import NotSupported
from ovs_geneve.ovsdb.provision import HostProvision
from ovs_geneve.ovsdb.replica import Replica
from ovs_geneve.ovsdb.rows import Bridge, Interface, OpenVSwitch, Port, by_name, by_uuid, each
from ovs_geneve.values import Dpid, OfPort
from ovs_geneve.vport import GeneveVport

OLDEST_OVS = (2, 13)
"Older ones lack the ND fields that answer neighbour solicitations, or take no groups in bundles."

_DPID_PREFIX = 0x6E << 56


def facts_of(replica: Replica, bridge_name: str) -> HostFacts:
    """Read what flows depend on; a bridge that vswitchd has not made yet has dpid 0."""
    bridge = by_name(replica, Bridge, bridge_name)
    if bridge is None:
        return HostFacts()
    ofports = {
        interface.external_ids["iface-id"]: interface.ofport
        for interface in _interfaces(replica, bridge.ports)
        if "iface-id" in interface.external_ids and interface.ofport is not None and interface.ofport > 0
    }
    return HostFacts(dpid=int(bridge.datapath_id or "0", 16), ofports=ofports)


def datapath_of(replica: Replica, bridge_name: str) -> str:
    """Return which datapath a bridge uses, as OVS spells it; "" while there is no bridge."""
    bridge = by_name(replica, Bridge, bridge_name)
    # An empty datapath_type is the kernel's (ovs-vswitchd.conf.db(5), Bridge TABLE).
    return "" if bridge is None else bridge.datapath_type or "system"


def system_of(replica: Replica) -> OpenVSwitch | None:
    """Return the row about the whole host; None in a database that was never initialised."""
    return next(each(replica, OpenVSwitch), None)


def bridge_socket(replica: Replica, host: Object[HostSpec]) -> Path:
    """Return where a bridge of this machine listens for OpenFlow; NotSupported if its database does not tell.

    OVS dials no Unix socket outside its run directory, so on one machine it is the controller that dials.
    """
    directory = run_directory(replica, host)
    if directory is None:
        raise NotSupported(
            "a host on a Unix socket", "external_ids:rundir in Open_vSwitch, which ovs-ctl sets"
        )
    return directory / f"{host.spec.bridge}.mgmt"


def run_directory(replica: Replica, host: Object[HostSpec]) -> Path | None:
    """Return where the Open vSwitch of this machine has its sockets; None if its database does not tell."""
    system = system_of(replica)
    told = None if system is None else system.external_ids.get("rundir")
    if told is not None:
        return Path(told)
    return None if host.spec.ovsdb is None else Path(host.spec.ovsdb.removeprefix("unix:")).parent


def too_old(system: OpenVSwitch | None) -> Problem | None:
    """Say so when a host's Open vSwitch lacks what our flows need; nothing is to be put on it."""
    version = "" if system is None else system.ovs_version or ""
    if version and _version(version) < OLDEST_OVS:
        least = ".".join(str(part) for part in OLDEST_OVS)
        return Problem(reason="OvsTooOld", message=f"it runs Open vSwitch {version}: want {least} or later")
    return None


def problem_of(replica: Replica) -> Problem | None:
    """Say what keeps a provisioned host from working, if anything does."""
    vport = by_name(replica, Interface, TUNNEL_NAME)
    if vport is None:
        return None
    if vport.error:
        return Problem(reason="VportFailed", message=f"{TUNNEL_NAME}: {vport.error}")
    if vport.ofport is not None and vport.ofport not in (TUNNEL_OFPORT, -1):
        message = f"{TUNNEL_NAME} has port number {vport.ofport}: another port holds {TUNNEL_OFPORT}"
        return Problem(reason="VportNumberTaken", message=message)
    return None


def provision_of(
    host: Object[HostSpec],
    replica: Replica,
    *,
    owner: str,
    controller: str | None,
    tunnel_port: int,
    mtus: Mapping[str, int],
) -> HostProvision:
    """Return what a host's database should hold of ours."""
    tunables = host.spec.tunables
    vport = GeneveVport(
        name=TUNNEL_NAME,
        ofport_request=OfPort(TUNNEL_OFPORT),
        dst_port=tunnel_port,
        csum=tunables.csum,
        ttl=tunables.ttl,
        tos=tunables.tos,
        df_default=tunables.df_default,
    )
    return HostProvision(
        owner=owner,
        # Made from the object's key: no two hosts share it, not even clones of one machine.
        dpid=Dpid(_DPID_PREFIX | host.key),
        controller=controller,
        bridge=host.spec.bridge,
        datapath_type=_datapath_type(host.spec.datapath, replica),
        vports=(vport,),
        mtus=mtus,
    )


def _datapath_type(choice: DatapathChoice, replica: Replica) -> str:
    """Follow the choice; on AUTO take the kernel's unless vswitchd says that it has only its own."""
    system = system_of(replica)
    offered = frozenset[str]() if system is None else system.datapath_types
    if choice is DatapathChoice.NETDEV or (
        choice is DatapathChoice.AUTO and offered and "system" not in offered
    ):
        return "netdev"
    return "system"


def _interfaces(replica: Replica, ports: frozenset[UUID]) -> Iterator[Interface]:
    for uuid in ports:
        port = by_uuid(replica, Port, uuid)
        for interface_uuid in () if port is None else port.interfaces:
            interface = by_uuid(replica, Interface, interface_uuid)
            if interface is not None:
                yield interface


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or "0") for part in parts)
