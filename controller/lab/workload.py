# SPDX-License-Identifier: Apache-2.0
"""Workloads: a namespace with one interface each, plugged into a host's bridge as an orchestrator would.

The lab writes what libvirt writes: the interface and its external_ids:iface-id, or its alias where there is no Open
vSwitch. Everything that makes packets
flow from there is the controller's.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_interface

from controller.lab import links, namespaces
from controller.lab.errors import LabError
from controller.lab.linux_host import LinuxHost
from controller.lab.machine import Machine
from controller.lab.ovs_host import LabHost
from controller.lab.settings import Datapath, interface_name, workload_namespace
from controller.lab.state import Workload
from controller.lab.waiting import wait_until

INTERFACE = "eth0"
"The workload's own interface."


def check(port: Workload) -> None:
    """Raise LabError for addresses that no interface can have."""
    for address in port.addresses:
        _parse(address, ip_interface)
        if "/" not in address:
            raise LabError(f"{port.name}: {address} has no prefix length", f"as {address}/24")
    for gateway in port.gateways:
        _parse(gateway, ip_address)


def create(host: Machine, port: Workload) -> None:
    """Make the workload's namespace and its link to the host, not yet plugged in."""
    name = workload_namespace(host.lab, port.name)
    namespaces.create(name)

    def furnish() -> None:
        links.quiet(ipv6=True)
        links.set_up("lo")
        links.add_veth(
            INTERFACE,
            peer=interface_name(port.name),
            peer_namespace=host.namespace,
            mtu=port.mtu,
            mac=port.mac,
        )
        if host.datapath is Datapath.NETDEV:
            links.finish_packets(INTERFACE)
        links.add_addresses(INTERFACE, [ip_interface(address) for address in port.addresses])
        links.set_up(INTERFACE)
        links.add_default_routes(INTERFACE, [ip_address(gateway) for gateway in port.gateways])

    namespaces.inside(name, furnish)


def wait_for_bridge(host: Machine, bridge: str, timeout: float) -> None:
    """Return when the host has the bridge, if it is to have one. Raises LabError after `timeout` seconds."""
    if isinstance(host, LabHost):
        wait_until(
            lambda: bridge in host.vsctl("--no-wait", "list-br").split(),
            timeout,
            f"{host.name}: bridge {bridge}",
            "the controller makes it: does it run, and is the host enrolled?",
        )


def plug(host: Machine, port: Workload) -> None:
    """Tell that the workload's link is there: to Open vSwitch in one transaction, elsewhere by the link's alias."""
    link = interface_name(port.name)
    namespaces.inside(host.namespace, lambda: links.set_up(link))
    if isinstance(host, LabHost):
        _add_to_bridge(host, port, link)
    elif isinstance(host, LinuxHost):
        namespaces.inside(host.namespace, lambda: links.set_alias(link, port.interface_id))


def _add_to_bridge(host: LabHost, port: Workload, link: str) -> None:
    host.vsctl(
        *_patience(host),
        *("add-port", port.bridge, link, "--", "set", "Interface", link),
        f'external_ids:iface-id="{port.interface_id}"',
        f'external_ids:attached-mac="{port.mac}"',
        "external_ids:iface-status=active",
    )
    problem = host.vsctl("--no-wait", "get", "Interface", link, "error").strip()
    if problem != "[]":
        raise LabError(f"{host.name}: ovs-vswitchd does not take {link}: {problem}")


def unplug(host: Machine, port: Workload) -> None:
    """Take that back; harmless when the link is not there."""
    link = interface_name(port.name)
    if isinstance(host, LabHost):
        host.vsctl(*_patience(host), "--if-exists", "del-port", link)
    elif namespaces.inside(host.namespace, lambda: links.has_link(link)):
        namespaces.inside(host.namespace, lambda: links.set_alias(link, ""))


def carry(port: Workload, source: Machine, target: Machine) -> None:
    """Take the far end of the workload's link from one host to another; the workload sees its carrier go."""
    link = interface_name(port.name)
    namespaces.inside(source.namespace, lambda: links.move_link(link, target.namespace))


def remove(host: Machine, port: Workload) -> None:
    """Remove the link and the namespace; harmless when they are gone."""
    if namespaces.exists(host.namespace):
        namespaces.inside(host.namespace, lambda: links.delete_links(interface_name(port.name)))
    namespaces.remove(workload_namespace(host.lab, port.name))


def _patience(host: LabHost) -> list[str]:
    # Without --no-wait ovs-vsctl waits for ovs-vswitchd, which a test may have ended.
    return [] if host.vswitchd_pid is not None else ["--no-wait"]


def _parse(text: str, parser: Callable[[str], object]) -> None:
    try:
        parser(text)
    except ValueError as error:
        raise LabError(f"{text!r} is no address: {error}") from error
