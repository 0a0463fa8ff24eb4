# SPDX-License-Identifier: Apache-2.0
"""Geneve devices with a fixed network and peer: a network's way to each other host is a port of its bridge.

    og-bVVVVVV ── interfaces of ports
        ├──────── ogVVVVVVxK   to the host of key K, isolated: what comes in there goes to no other such port
        └──────── ogVVVVVVyK   from it, where it sends from its endpoint of the other version of IP

No option is sent or looked at; the kernel takes packets of this network from this host alone, and none with a critical
option (drivers/net/geneve.c, geneve_rx).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from controller.intent.model import Address
from controller.linux.layout import alias_of, bridge_of, fixed_arrival_of, fixed_tunnel_of
from controller.linux.views import LinuxNetwork
from ovs_geneve.kernel.objects import BridgePort, GeneveLink, Link

Df = Literal["unset", "set", "inherit"]

_OUTSIDE = BridgePort(neigh_suppress=True, isolated=True)
_ARRIVAL = BridgePort(flood=False, neigh_suppress=True, isolated=True)


def links(network: LinuxNetwork) -> Iterator[Link]:
    """Yield the devices towards the other hosts of a network, as ports of its bridge."""
    for name, remote, sends in devices(network):
        yield Link(
            name=name,
            kind=device_towards(network, remote),
            alias=alias_of(f"network {network.name}"),
            mtu=network.mtu,
            master=bridge_of(network.view.vni),
            port=_OUTSIDE if sends else _ARRIVAL,
        )


def devices(network: LinuxNetwork) -> Iterator[tuple[str, Address, bool]]:
    """Yield a network's devices with the endpoint that each is for, and whether packets are sent by it.

    A device takes packets from its endpoint alone. So where a host sends from another, it has a second one.
    """
    vni = network.view.vni
    for host in network.remote.values():
        yield fixed_tunnel_of(vni, host.key), host.endpoint, True
        if host.arrives_from is not None:
            yield fixed_arrival_of(vni, host.key), host.arrives_from, False


def device_towards(network: LinuxNetwork, endpoint: Address) -> GeneveLink:
    """Return a device of one network towards one host, with the outer headers that the own host is to set."""
    tunables = network.tunables
    four = endpoint.version == 4
    df: Df = "inherit" if tunables.df_inherit else "set" if tunables.df_default else "unset"
    return GeneveLink(
        vni=network.view.vni,
        remote=str(endpoint),
        dst_port=network.udp_port,
        ttl="auto" if tunables.ttl is None else tunables.ttl,
        tos=0 if tunables.tos is None else tunables.tos,
        # DF is of IPv4, and each version has its own word for the checksum.
        df=df if four else "unset",
        udp_csum=tunables.csum if four else True,
        udp6_zero_csum_tx=not four and not tunables.csum,
        udp6_zero_csum_rx=not four and tunables.udp6_zero_csum,
    )
