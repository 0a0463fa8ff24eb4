# SPDX-License-Identifier: Apache-2.0
"""A port of a Linux host may speak only as itself: MAC, IPv4, IPv6 and ARP; what passes is marked with its group.

The first filters of its interface, in the order of their preferences:

    FIRST + 0  frames for the next device alone (spanning tree, PAUSE, LLDP), with a VLAN tag, RARP  ─► dropped
    + 4        ARP, IPv4, router advertisements and redirects, IPv6
    + 8        ARP, IPv4, IPv6 that is not the port's own                                           ─► dropped
    + 11       any other protocol from its MAC
    + 12       the rest                                                                              ─► dropped

A port that declares no address is a pure Ethernet port: only its MAC is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.features.protocols import (
    DHCP_CLIENT,
    DHCP_SERVER,
    ICMPV6,
    MLDV2_REPORT,
    NEIGHBOUR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    UDP,
)
from controller.compiler.views import PortView
from controller.linux.layout import FIRST, ipv4_text, ipv6_text, mac_text, mark_of
from controller.linux.views import LocalPort
from ovs_geneve.kernel.objects import Action, Filter, Flower, Match, MatchAll, Protocol, SetMark, Verdict

NEXT_DEVICE = "01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"
"What a bridge does not pass on (IEEE 802.1Q, table 8-1)."

Actions = tuple[Action, ...]

_DROP: Actions = (Verdict(verdict="drop"),)


def filters(port: LocalPort) -> Iterator[Filter]:
    """Yield the ingress filters of a port's interface."""
    passes = (SetMark(mark=mark_of(port.identity)), Verdict(verdict="pass"))
    for offset, protocol, matches, actions in _rules(port.view, passes):
        for number, match in enumerate(matches, 1):
            yield Filter(
                device=port.interface,
                preference=FIRST + offset,
                protocol=protocol,
                handle=number,
                match=match,
                actions=actions,
            )


def _rules(port: PortView, passes: Actions) -> Iterator[tuple[int, Protocol, Iterable[Match], Actions]]:
    everything = (MatchAll(),)
    yield 0, "all", (Flower(dst_mac=NEXT_DEVICE),), _DROP
    # A tag would hide addresses from the filters that follow.
    yield 1, "802.1Q", everything, _DROP
    yield 2, "802.1ad", everything, _DROP
    if port.ipv4 or port.ipv6:
        yield 3, "rarp", everything, _DROP
        yield 4, "arp", arp(port), passes
        yield 5, "ip", _ipv4(port), passes
        yield 6, "ipv6", _routers(), _DROP
        yield 7, "ipv6", _ipv6(port), passes
        yield 8, "arp", everything, _DROP
        yield 9, "ip", everything, _DROP
        yield 10, "ipv6", everything, _DROP
    yield 11, "all", (Flower(src_mac=mac_text(port.mac)),), passes
    yield 12, "all", everything, _DROP


def arp(port: PortView) -> Iterator[Match]:
    """Yield what matches ARP that a port may send."""
    mac = mac_text(port.mac)
    # A probe before an address is used has no sender address (RFC 5227 2.1.1).
    for address in (*port.ipv4, 0) if port.ipv4 else ():
        yield Flower(src_mac=mac, arp_sha=mac, arp_sip=f"{ipv4_text(address)}/32")


def _ipv4(port: PortView) -> Iterator[Match]:
    mac = mac_text(port.mac)
    for address in port.ipv4:
        yield Flower(src_mac=mac, src_ip=f"{ipv4_text(address)}/32")
    if port.ipv4:
        yield Flower(
            src_mac=mac,
            ip_proto=UDP,
            src_ip="0.0.0.0/32",
            dst_ip="255.255.255.255/32",
            src_ports=(DHCP_CLIENT, DHCP_CLIENT),
            dst_ports=(DHCP_SERVER, DHCP_SERVER),
        )


def _routers() -> Iterator[Match]:
    """Yield what no guest may say: that it is a router, that another way is better."""
    for icmp_type in (ROUTER_ADVERTISEMENT, REDIRECT):
        yield Flower(ip_proto=ICMPV6, icmp_type=icmp_type)


def _ipv6(port: PortView) -> Iterator[Match]:
    mac = mac_text(port.mac)
    for address in port.ipv6:
        yield Flower(src_mac=mac, src_ip=f"{ipv6_text(address)}/128")
    # What a node says before it has an address: it looks for duplicates and routers, joins groups.
    for icmp_type in (NEIGHBOUR_SOLICITATION, ROUTER_SOLICITATION, MLDV2_REPORT) if port.ipv6 else ():
        yield Flower(src_mac=mac, ip_proto=ICMPV6, src_ip="::/128", icmp_type=icmp_type)
