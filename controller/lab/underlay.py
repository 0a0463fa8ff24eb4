# SPDX-License-Identifier: Apache-2.0
"""The fabric: a namespace with two switches, one for tunnels and one for the controller's sessions.

Two, because the underlay of the userspace datapath runs through ovs-vswitchd: when that is killed, a
session with the host's ovsdb-server must live on, as it does where management has a network of its own.
"""

from __future__ import annotations

import socket
from ipaddress import ip_interface
from pathlib import Path

from controller.lab import commands, links, namespaces
from controller.lab.errors import LabError
from controller.lab.machine import UNDERLAY_LINK, Machine
from controller.lab.settings import (
    FABRIC_NUMBER,
    Datapath,
    Underlay,
    control_address,
    control_prefix,
    endpoint_address,
    fabric_namespace,
    underlay_network,
)

UNDERLAY_SWITCH = "underlay"
CONTROL_SWITCH = "control"

_CONTROL_MTU = 1500
_MODULES = ("openvswitch", "vport_geneve")


def choose_datapath(wanted: Datapath) -> Datapath:
    """Settle AUTO: the kernel's datapath if it has GENEVE vports. Raises LabError for what is not there."""
    if wanted is not Datapath.NETDEV and _kernel_has_geneve():
        return Datapath.SYSTEM
    if wanted is Datapath.SYSTEM:
        raise LabError("this kernel has no openvswitch and geneve modules", "use the netdev datapath")
    if not Path("/dev/net/tun").exists():
        raise LabError(
            "there is no /dev/net/tun", "modprobe tun: the userspace datapath makes its ports with it"
        )
    return Datapath.NETDEV


def build_fabric(lab: str, underlay: Underlay, mtu: int) -> None:
    """Make the fabric's namespace and switches. Raises LabError when the lab's name is taken."""
    name = fabric_namespace(lab)
    namespaces.create(name)
    endpoint = ip_interface(
        f"{endpoint_address(underlay, FABRIC_NUMBER)}/{underlay_network(underlay).prefixlen}"
    )
    control = ip_interface(f"{control_address(FABRIC_NUMBER)}/{control_prefix()}")

    def switches() -> None:
        links.quiet(ipv6=False)
        links.set_up("lo")
        links.add_bridge(UNDERLAY_SWITCH, mtu=mtu)
        links.add_bridge(CONTROL_SWITCH, mtu=_CONTROL_MTU)
        if underlay is Underlay.IPV6:
            links.enable_ipv6(UNDERLAY_SWITCH)
        links.add_addresses(UNDERLAY_SWITCH, [endpoint])
        links.add_addresses(CONTROL_SWITCH, [control])

    namespaces.inside(name, switches)


def attach(host: Machine) -> None:
    """Make a host's namespace and lay its two cables."""
    namespaces.create(host.namespace)

    def prepare() -> None:
        links.quiet(ipv6=False)
        links.set_up("lo")

    def cables() -> None:
        # With br-phy in between, u0's own address means nothing; without, u0 is the endpoint.
        mac = host.endpoint_mac if host.endpoint_link == UNDERLAY_LINK else None
        _cable(host, "u", UNDERLAY_SWITCH, mtu=host.mtu, mac=mac)
        _cable(host, "c", CONTROL_SWITCH, mtu=_CONTROL_MTU)

    namespaces.inside(host.namespace, prepare)
    namespaces.inside(fabric_namespace(host.lab), cables)


def detach(host: Machine) -> None:
    """Take a host's cables and namespace away; harmless when they are gone."""
    fabric = fabric_namespace(host.lab)
    if namespaces.exists(fabric):
        namespaces.inside(fabric, lambda: links.delete_links(f"{host.name}-u", f"{host.name}-c"))
    namespaces.remove(host.namespace)


def set_cable(host: Machine, *, up: bool) -> None:
    """Plug or pull a host's underlay cable, at the fabric's end: the host sees a carrier, its routes stay."""
    namespaces.inside(fabric_namespace(host.lab), lambda: links.set_up(f"{host.name}-u", up=up))


def listen(lab: str, port: int) -> socket.socket:
    """Return a listening TCP socket on the control network, for a controller that runs outside of it.

    A socket stays in the namespace it was made in; who serves it may be elsewhere.
    """
    address = (str(control_address(FABRIC_NUMBER)), port)
    return namespaces.inside(fabric_namespace(lab), lambda: socket.create_server(address))


def _cable(host: Machine, leg: str, switch: str, *, mtu: int, mac: str | None = None) -> None:
    name = f"{host.name}-{leg}"
    links.add_veth(name, peer=f"{leg}0", peer_namespace=host.namespace, mtu=mtu, peer_mac=mac)
    links.set_up(name, master=switch)


def _kernel_has_geneve() -> bool:
    if not all(Path("/sys/module", module).is_dir() for module in _MODULES):
        modprobe = commands.find("modprobe")
        if modprobe is not None:
            commands.run([modprobe, "-a", *_MODULES], check=False)
    return all(Path("/sys/module", module).is_dir() for module in _MODULES)
