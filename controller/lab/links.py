# SPDX-License-Identifier: Apache-2.0
"""Links, addresses and features, by netlink, in the calling thread's namespace (`namespaces.inside`)."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

from pyroute2 import IPRoute

from controller.lab import namespaces

Interface = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address

# linux/ethtool.h, linux/sockios.h
_SIOCETHTOOL = 0x8946
_CHECKSUM_AND_SEGMENTATION = (0x17, 0x1F, 0x24)
"ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO."

_IFA_F_NODAD = 0x02


def add_bridge(name: str, *, mtu: int) -> None:
    """Make a Linux bridge that forwards at once and learns only MAC addresses."""
    with IPRoute() as netlink:
        netlink.link(
            "add", ifname=name, kind="bridge", br_forward_delay=0, br_mcast_snooping=0, br_stp_state=0
        )
        netlink.link("set", index=_index(netlink, name), mtu=mtu, state="up")


def add_veth(
    name: str,
    *,
    peer: str,
    peer_namespace: str,
    mtu: int,
    mac: str | None = None,
    peer_mac: str | None = None,
) -> None:
    """Make a veth pair with one end here and the other in another namespace; both are down."""
    far = {"ifname": peer, "net_ns_fd": peer_namespace, "mtu": mtu} | (
        {"address": peer_mac} if peer_mac else {}
    )
    near = {"ifname": name, "mtu": mtu} | ({"address": mac} if mac else {})
    with IPRoute() as netlink:
        netlink.link("add", kind="veth", peer=far, **near)


def move_link(name: str, namespace: str) -> None:
    """Move a link to another namespace; it arrives down, its peer keeps addresses and routes."""
    with IPRoute() as netlink:
        netlink.link("set", index=_index(netlink, name), net_ns_fd=namespace)


def delete_links(*names: str) -> None:
    """Delete links, and with a veth its other end; harmless when they are gone."""
    with IPRoute() as netlink:
        for index in [index for name in names for index in netlink.link_lookup(ifname=name)]:
            netlink.link("del", index=index)


def set_up(name: str, *, master: str | None = None, up: bool = True) -> None:
    """Set a link up or down, and make it a bridge's port."""
    with IPRoute() as netlink:
        more = {"master": _index(netlink, master)} if master else {}
        netlink.link("set", index=_index(netlink, name), state="up" if up else "down", **more)


def set_alias(name: str, alias: str) -> None:
    """Give a link an alias, "" for none."""
    with IPRoute() as netlink:
        netlink.link("set", index=_index(netlink, name), ifalias=alias)


def set_mtu(name: str, mtu: int) -> None:
    """Set a link's MTU."""
    with IPRoute() as netlink:
        netlink.link("set", index=_index(netlink, name), mtu=mtu)


def add_addresses(name: str, addresses: Iterable[Interface]) -> None:
    """Give a link addresses that are usable at once: no duplicate address detection."""
    with IPRoute() as netlink:
        index = _index(netlink, name)
        for address in addresses:
            flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
            netlink.addr(
                "replace", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags
            )


def add_default_routes(name: str, gateways: Iterable[Address]) -> None:
    """Route everything else through these gateways, one a family."""
    with IPRoute() as netlink:
        index = _index(netlink, name)
        for gateway in gateways:
            dst = "0.0.0.0/0" if gateway.version == 4 else "::/0"
            netlink.route("replace", dst=dst, gateway=str(gateway), oif=index)


def link_names() -> list[str]:
    """List the links here."""
    with IPRoute() as netlink:
        return sorted(link.get("ifname") for link in netlink.get_links())


def has_link(name: str) -> bool:
    """Tell whether a link is here."""
    with IPRoute() as netlink:
        return bool(netlink.link_lookup(ifname=name))


def finish_packets(name: str) -> None:
    """Make the kernel hand out whole packets on a link: checksums filled in, nothing larger than the MTU.

    ovs-vswitchd reads them from an AF_PACKET socket, where a checksum left to the hardware is simply wrong: ping
    works, TCP does not (OVS Documentation/topics/userspace-tso.rst).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request in _CHECKSUM_AND_SEGMENTATION:
            value = bytearray(struct.pack("II", request, 0))
            _ethtool(control, name, value)


def quiet(*, ipv6: bool) -> None:
    """Set the namespace's defaults, before any link: no router discovery, no address detection, no ARP flux.

    A host's kernel sees the underlay's packets beside ovs-vswitchd. Unless told otherwise it answers ARP for
    the address of br-phy on u0, with the MAC address of u0: peers then send where no tunnel ends.
    """
    _ipv4_defaults()
    if not Path("/proc/sys/net/ipv6").is_dir():
        return
    for key, value in (("accept_ra", 0), ("autoconf", 0), ("accept_dad", 0), ("dad_transmits", 0)):
        _both(f"ipv6/conf/%s/{key}", value)
    _both("ipv6/conf/%s/router_solicitations", 0)
    namespaces.sysctl("ipv6/conf/default/disable_ipv6", int(not ipv6))


def enable_ipv6(name: str) -> None:
    """Allow IPv6 on a link of a namespace that is otherwise without."""
    namespaces.sysctl(f"ipv6/conf/{name}/disable_ipv6", 0)


def _ipv4_defaults() -> None:
    for key, value in (("arp_ignore", 1), ("arp_announce", 2), ("rp_filter", 0)):
        _both(f"ipv4/conf/%s/{key}", value)


def _both(pattern: str, value: int) -> None:
    for scope in ("all", "default"):
        namespaces.sysctl(pattern % scope, value)


def _index(netlink: IPRoute, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise FileNotFoundError(f"no link {name}")
    return int(found[0])


def _ethtool(control: socket.socket, name: str, value: bytearray) -> None:
    # struct ifreq with ifr_data pointing at a struct ethtool_value
    buffer = (ctypes.c_char * len(value)).from_buffer(value)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer))
    fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
