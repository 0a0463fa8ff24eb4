# SPDX-License-Identifier: Apache-2.0
"""A network as a bridge: its devices, the interfaces of its ports, what is behind which, who has which address.

What MAC is where is written down; nothing is learnt. The kernel answers ARP and ND for what it knows to be behind the
tunnel port (bridge(8), neigh_suppress), so that questions about known addresses leave no host.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.views import PortView
from controller.linux.layout import FIRST, alias_of, bridge_of, tunnel_port_of
from controller.linux.views import LinuxNetwork, LocalPort, addresses_of
from ovs_geneve.kernel.objects import (
    Attachment,
    BridgeLink,
    BridgePort,
    DummyLink,
    Filter,
    Link,
    MatchAll,
    Neighbour,
    Setting,
    Verdict,
)
from ovs_geneve.values import mac_text

_OUTSIDE = BridgePort(neigh_suppress=True)
_WORKLOAD = BridgePort()

_BRIDGE_MACS = 0x0A6F67000000
"A bridge says nothing with its MAC: on every host it is this and the VNI."


def bridge(network: LinuxNetwork) -> Link:
    """Return a network's bridge."""
    vni = network.view.vni
    return Link(
        name=bridge_of(vni),
        kind=BridgeLink(),
        alias=alias_of(f"network {network.name}"),
        mtu=network.mtu,
        # Else it is that of some port of it, now this, now that.
        mac=mac_text(_BRIDGE_MACS + vni),
    )


def tunnel_port(network: LinuxNetwork) -> Link:
    """Return the port of a network's bridge that filters take packets from, to whichever host."""
    vni = network.view.vni
    return Link(
        name=tunnel_port_of(vni),
        kind=DummyLink(),
        alias=alias_of(f"network {network.name}"),
        mtu=network.mtu,
        master=bridge_of(vni),
        port=_OUTSIDE,
    )


def attachment(network: LinuxNetwork, port: LocalPort) -> Attachment:
    """Return the interface of a port as the bridge's."""
    return Attachment(
        name=port.interface, master=bridge_of(network.view.vni), port=_WORKLOAD, mtu=network.interface_mtu
    )


def settings(link: Link) -> Iterator[Setting]:
    """Yield what keeps the host's own IPv6 off a device of ours: it would speak into a tenant's network."""
    if isinstance(link.kind, BridgeLink):
        # Where IPv6 is disabled, as some hosts do for new devices, a bridge can have no neighbours; without an
        # address it says nothing either.
        yield Setting(path=f"net/ipv6/conf/{link.name}/addr_gen_mode", value="1")
        yield Setting(path=f"net/ipv6/conf/{link.name}/disable_ipv6", value="0")
    else:
        yield Setting(path=f"net/ipv6/conf/{link.name}/disable_ipv6", value="1")


def host_kept_out(network: LinuxNetwork) -> Iterator[Filter]:
    """Yield what keeps a bridge's packets from the host itself: it would answer ARP for its own addresses."""
    yield Filter(
        device=bridge_of(network.view.vni),
        preference=FIRST,
        match=MatchAll(),
        actions=(Verdict(verdict="drop"),),
    )


def neighbours(vni: int, port: PortView) -> Iterator[Neighbour]:
    """Yield who has which address of a port."""
    for address in addresses_of(port):
        yield Neighbour(device=bridge_of(vni), address=address, mac=mac_text(port.mac))
