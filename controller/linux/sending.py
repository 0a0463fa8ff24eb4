# SPDX-License-Identifier: Apache-2.0
"""From the bridge into tunnels: at the egress of its tunnel port, by what the packet is addressed to and who sends it.

    dst MAC of a remote port ─► chain of its host: src MAC ─► that port's options, to the host's endpoint ─► og-geneve
    any other MAC            ─► FLOOD:             src MAC ─► likewise, a copy to each host, 15 hosts a filter

The source MAC is the sender's: anti-spoofing saw to it. A filter stands for each remote port, and for each local port
and remote host; what the kernel itself says has no MAC of a port and ends here.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.model import Tunables
from controller.linux.layout import (
    BY_HOST,
    FIRST,
    FLOOD,
    LAST,
    MAX_ACTIONS,
    REST,
    TUNNEL_DEVICE,
    mac_text,
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

DEFAULT_TTL = 64

_HOSTS_A_FILTER = (MAX_ACTIONS - 2) // 2


def filters(network: LinuxNetwork) -> Iterator[Filter]:
    """Yield the egress filters of a network's tunnel port."""
    device = tunnel_port_of(network.view.vni)
    yield from _destinations(device, network)
    for host in network.remote:
        for port in network.local:
            actions = (SetMark(mark=0), _tunnel(network, port, host), Mirred(device=TUNNEL_DEVICE))
            yield _from(device, port, BY_HOST + host.key, FIRST, actions)
        yield _end(device, BY_HOST + host.key)
    yield from _copies(device, network)


def _destinations(device: str, network: LinuxNetwork) -> Iterator[Filter]:
    for host in network.remote:
        for port in host.ports:
            yield Filter(
                device=device,
                egress=True,
                preference=FIRST,
                handle=port.key,
                match=Flower(dst_mac=mac_text(port.mac)),
                actions=(Goto(chain=BY_HOST + host.key),),
            )
    yield Filter(device=device, egress=True, preference=LAST, match=MatchAll(), actions=(Goto(chain=FLOOD),))


def _copies(device: str, network: LinuxNetwork) -> Iterator[Filter]:
    remote = network.remote
    for number, first in enumerate(range(0, len(remote), _HOSTS_A_FILTER)):
        for port in network.local:
            actions: list[Action] = [SetMark(mark=0)]
            for host in remote[first : first + _HOSTS_A_FILTER]:
                actions += _tunnel(network, port, host), Mirred(device=TUNNEL_DEVICE, copy=True)
            actions.append(Verdict(verdict="continue"))
            yield _from(device, port, FLOOD, FIRST + number, tuple(actions))
    yield _end(device, FLOOD)


def _end(device: str, chain: int) -> Filter:
    drop = (Verdict(verdict="drop"),)
    return Filter(device=device, egress=True, chain=chain, preference=REST, match=MatchAll(), actions=drop)


def _from(device: str, port: LocalPort, chain: int, preference: int, actions: tuple[Action, ...]) -> Filter:
    return Filter(
        device=device,
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
        ttl=ttl,
        tos=tos,
        csum=network.tunables.csum,
        options=port.options,
    )


def numbers_of(tunables: Tunables) -> tuple[int, int]:
    """Return TTL and TOS of outer headers that filters set: nothing can be inherited there."""
    ttl = tunables.ttl if isinstance(tunables.ttl, int) else DEFAULT_TTL
    return ttl, tunables.tos if isinstance(tunables.tos, int) else 0
