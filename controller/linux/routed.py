# SPDX-License-Identifier: Apache-2.0
"""Networks of IP: a routing domain a network, in which addresses of ports are routes to interfaces and other hosts.

    og-vVVVVVV (table TABLES + VNI) ── interfaces of ports
        ├───────────────────────────── ogVVVVVVxK   IP in GENEVE to the host of key K, a UDP port of its own
        └───────────────────────────── …

A port thinks of the others as on its link: the host answers ARP and ND for them and passes the packets on. What leaves
an interface, or a tunnel, goes to addresses of the network's ports and nowhere else: not to the host, not past the
routing domain (a table without a route is followed by the next one, ip-vrf(8)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from controller.compiler.features.protocols import ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from controller.compiler.views import PortView
from controller.intent.model import link_local
from controller.linux import antispoof
from controller.linux.fixed import device_towards, devices
from controller.linux.layout import (
    DESTINATIONS,
    DEVICE_MTU,
    FIRST,
    LAST,
    TABLES,
    alias_of,
    fixed_tunnel_of,
    ipv4_text,
    ipv6_text,
    vrf_of,
)
from controller.linux.views import LinuxNetwork, LocalPort
from ovs_geneve.kernel.objects import (
    Action,
    Attachment,
    Filter,
    Flower,
    Goto,
    KernelState,
    Link,
    Match,
    MatchAll,
    Neighbour,
    Protocol,
    Route,
    Setting,
    Verdict,
    VrfLink,
)
from ovs_geneve.values import mac_text

_ADDRESS_BITS = 8

Actions = tuple[Action, ...]

_FAMILIES: tuple[Protocol, ...] = ("ip", "ipv6")

_PASS: Actions = (Verdict(verdict="pass"),)
_DROP: Actions = (Verdict(verdict="drop"),)


def shape(network: LinuxNetwork) -> KernelState:
    """Return what a host has of a network of IP without its ports."""
    tunnels = [name for name, _, _ in devices(network)]
    return KernelState(
        links=frozenset(_links(network)),
        settings=frozenset(
            one for device in (vrf_of(network.view.vni), *tunnels) for one in _forwarding(device)
        ),
        filters=frozenset(_end(device, 0) for device in tunnels),
    )


def here(network: LinuxNetwork, port: LocalPort) -> KernelState:
    """Return what a host has of a port of its own."""
    filters = (
        *_entering(port),
        _end(port.interface, DESTINATIONS),
        *(one for name, _, _ in devices(network) for one in _passing(name, 0, port.view)),
        *_reached(network, port.view),
    )
    return KernelState(
        attachments=frozenset(
            [Attachment(name=port.interface, master=vrf_of(network.view.vni), mtu=network.interface_mtu)]
        ),
        settings=frozenset(_settings(port.interface)),
        neighbours=frozenset(_neighbours(network, port.view)),
        routes=frozenset(_routes(network, port.interface, port.view)),
        filters=frozenset(filters),
    )


def elsewhere(network: LinuxNetwork, host_key: int, port: PortView) -> KernelState:
    """Return what a host has of a port of another one."""
    device = fixed_tunnel_of(network.view.vni, host_key)
    return KernelState(
        neighbours=frozenset(_neighbours(network, port)),
        routes=frozenset(_routes(network, device, port)),
        filters=frozenset(_reached(network, port)),
    )


def _links(network: LinuxNetwork) -> Iterator[Link]:
    vni, alias = network.view.vni, alias_of(f"network {network.name}")
    yield Link(name=vrf_of(vni), kind=VrfLink(table=TABLES + vni), alias=alias, mtu=DEVICE_MTU)
    for name, remote, _ in devices(network):
        kind = device_towards(network, remote)
        yield Link(
            name=name,
            kind=replace(kind, inner_proto_inherit=True),
            alias=alias,
            mtu=network.mtu,
            master=vrf_of(vni),
        )


def _forwarding(device: str) -> Iterator[Setting]:
    # A packet that comes in by a slave of a routing domain has come in by the domain's device.
    yield Setting(path=f"net/ipv4/conf/{device}/forwarding", value="1")
    yield Setting(path=f"net/ipv6/conf/{device}/forwarding", value="1")
    # Some hosts disable it for new devices: then there are neither routes nor neighbours.
    yield Setting(path=f"net/ipv6/conf/{device}/disable_ipv6", value="0")


def _settings(interface: str) -> Iterator[Setting]:
    yield from _forwarding(interface)
    yield Setting(path=f"net/ipv6/conf/{interface}/proxy_ndp", value="1")
    # Answers for others are else held back for most of a second (arp(7), proxy_delay).
    yield Setting(path=f"net/ipv4/neigh/{interface}/proxy_delay", value="0")
    yield Setting(path=f"net/ipv6/neigh/{interface}/proxy_delay", value="0")


def _neighbours(network: LinuxNetwork, port: PortView) -> Iterator[Neighbour]:
    for local in network.local.values():
        mac = mac_text(port.mac) if port == local.view else None
        for _, address, _ in _addresses(port):
            yield Neighbour(device=local.interface, address=address, mac=mac)


def _routes(network: LinuxNetwork, device: str, port: PortView) -> Iterator[Route]:
    for _, address, length in _addresses(port):
        yield Route(table=TABLES + network.view.vni, prefix=f"{address}/{length}", device=device)


def _entering(local: LocalPort) -> Iterator[Filter]:
    for offset, protocol, matches, actions in _rules(local.view):
        for number, match in enumerate(matches, 1):
            yield Filter(
                device=local.interface,
                preference=FIRST + offset,
                protocol=protocol,
                handle=number,
                match=match,
                actions=actions,
            )


def _rules(port: PortView) -> Iterator[tuple[int, Protocol, Iterable[Match], Actions]]:
    """Yield what a port may say: questions for neighbours to the host, and IP to other ports."""
    mac, onward = mac_text(port.mac), (Goto(chain=DESTINATIONS),)
    yield 0, "arp", antispoof.arp(port), _PASS
    yield 1, "ipv6", _discovery(port), _PASS
    yield 2, "ip", [Flower(src_mac=mac, src_ip=f"{ipv4_text(one)}/32") for one in port.ipv4], onward
    yield 3, "ipv6", [Flower(src_mac=mac, src_ip=f"{ipv6_text(one)}/128") for one in port.ipv6], onward
    yield 4, "all", (MatchAll(),), _DROP


def _discovery(port: PortView) -> Iterator[Match]:
    for source in ("::/128", *(f"{ipv6_text(one)}/128" for one in port.ipv6)) if port.ipv6 else ():
        for icmp_type in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
            yield Flower(src_mac=mac_text(port.mac), ip_proto=ICMPV6, src_ip=source, icmp_type=icmp_type)


def _reached(network: LinuxNetwork, port: PortView) -> Iterator[Filter]:
    """Yield what lets packets of this host's ports pass to addresses of a port."""
    for local in network.local.values():
        yield from _passing(local.interface, DESTINATIONS, port)


def _passing(device: str, chain: int, port: PortView) -> Iterator[Filter]:
    for number, (family, address, length) in enumerate(_addresses(port)):
        yield Filter(
            device=device,
            chain=chain,
            preference=FIRST + _FAMILIES.index(family),
            protocol=family,
            handle=port.key << _ADDRESS_BITS | number,
            match=Flower(dst_ip=f"{address}/{length}"),
            actions=_PASS,
        )


def _end(device: str, chain: int) -> Filter:
    return Filter(device=device, chain=chain, preference=LAST, match=MatchAll(), actions=_DROP)


def _addresses(port: PortView) -> Iterator[tuple[Protocol, str, int]]:
    """Yield the addresses that a port declares, with their family and length; the one for discovery is its link's."""
    yield from (("ip", ipv4_text(one), 32) for one in port.ipv4)
    own = int(link_local(port.mac))
    yield from (("ipv6", ipv6_text(one), 128) for one in port.ipv6 if one != own)
