# SPDX-License-Identifier: Apache-2.0
"""From the bridge into tunnels: at the egress of its tunnel port, by what the packet is addressed to and who sends it.

    dst MAC of a remote port ─► chain of its host: src MAC ─► that port's options, to the host's endpoint ─► og-geneve
    any other MAC            ─► FLOOD:             src MAC ─► likewise, a copy to each host, 15 hosts a filter

The source MAC is the sender's: anti-spoofing saw to it. A filter stands for each remote port, and for each local port
and remote host; what the kernel itself says has no MAC of a port and ends here.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.views import PortView
from controller.intent.model import Tunables
from controller.linux.layout import (
    BY_HOST,
    FIRST,
    FLOOD,
    LAST,
    MAX_ACTIONS,
    REST,
    TUNNEL_DEVICE,
    tunnel_port_of,
)
from controller.linux.views import LinuxNetwork, LocalPort, RemoteHost
from ovs_geneve.kernel.objects import (
    Action,
    Filter,
    Flower,
    Goto,
    MatchAll,
    Mirred,
    SetMark,
    TunnelSet,
    Verdict,
)
from ovs_geneve.values import mac_text

DEFAULT_TTL = 64

_HOSTS_A_FILTER = (MAX_ACTIONS - 2) // 2


def ends(network: LinuxNetwork) -> Iterator[Filter]:
    """Yield the filters of a network's tunnel port without those of ports: what none of these takes ends here."""
    device = tunnel_port_of(network.view.vni)
    yield Filter(device=device, egress=True, preference=LAST, match=MatchAll(), actions=(Goto(chain=FLOOD),))
    for chain in (*(BY_HOST + host.key for host in network.remote.values()), FLOOD):
        drop = (Verdict(verdict="drop"),)
        yield Filter(device=device, egress=True, chain=chain, preference=REST, match=MatchAll(), actions=drop)


def towards(vni: int, host_key: int, port: PortView) -> Filter:
    """Return the filter by which a port of another host is sent to."""
    return Filter(
        device=tunnel_port_of(vni),
        egress=True,
        preference=FIRST,
        handle=port.key,
        match=Flower(dst_mac=mac_text(port.mac)),
        actions=(Goto(chain=BY_HOST + host_key),),
    )


def filters_from(network: LinuxNetwork, port: LocalPort) -> Iterator[Filter]:
    """Yield the filters that send what a port says: to each host, and copies to all."""
    hosts = tuple(network.remote.values())
    ways = [(_tunnel(network, port, host), host.key) for host in hosts]
    for tunnel, key in ways:
        actions = (SetMark(mark=0), tunnel, Mirred(device=TUNNEL_DEVICE))
        yield _from(network, port, BY_HOST + key, FIRST, actions)
    for number, first in enumerate(range(0, len(ways), _HOSTS_A_FILTER)):
        copies: list[Action] = [SetMark(mark=0)]
        for tunnel, _ in ways[first : first + _HOSTS_A_FILTER]:
            copies += tunnel, Mirred(device=TUNNEL_DEVICE, copy=True)
        copies.append(Verdict(verdict="continue"))
        yield _from(network, port, FLOOD, FIRST + number, tuple(copies))


def numbers_of(tunables: Tunables) -> tuple[int, int]:
    """Return TTL and TOS of outer headers that filters set: nothing can be inherited there."""
    ttl = tunables.ttl if isinstance(tunables.ttl, int) else DEFAULT_TTL
    return ttl, tunables.tos if isinstance(tunables.tos, int) else 0


def _from(
    network: LinuxNetwork, port: LocalPort, chain: int, preference: int, actions: tuple[Action, ...]
) -> Filter:
    return Filter(
        device=tunnel_port_of(network.view.vni),
        egress=True,
        chain=chain,
        preference=preference,
        handle=port.view.key,
        match=Flower(src_mac=mac_text(port.view.mac)),
        actions=actions,
    )


def _tunnel(network: LinuxNetwork, port: LocalPort, host: RemoteHost) -> TunnelSet:
    ttl, tos = numbers_of(network.tunables)
    return TunnelSet(
        vni=network.view.vni,
        src=str(host.source),
        dst=str(host.endpoint),
        dst_port=network.udp_port,
        ttl=ttl,
        tos=tos,
        csum=network.tunables.csum,
        options=port.options,
    )
