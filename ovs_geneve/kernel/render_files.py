# SPDX-License-Identifier: Apache-2.0
"""A kernel state as files that a host without an agent reads when it boots. Pure.

ifupdown runs commands, so it can have any state. systemd-networkd has words for devices, bridges, forwarding entries
and neighbours, and none for filters: those, and the switches below /proc/sys, are a service that runs once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ovs_geneve.errors import EncodeError
from ovs_geneve.kernel.objects import BridgeLink, BridgePort, Fdb, GeneveLink, KernelState, Link, Neighbour
from ovs_geneve.kernel.render import commands, removal

_NETWORK = "/etc/systemd/network"
_SERVICE = "/etc/systemd/system/ovs-geneve-filters.service"

_SORT = 60
"Of files in _NETWORK; the first one that matches an interface is taken (systemd.network(5))."


def ifupdown(state: KernelState) -> str:
    """Return a stanza of interfaces(5) that makes a state when it is brought up, and ends it when it is taken down."""
    first = min((link.name for link in state.links), default=None)
    if first is None:
        return ""
    lines = [f"auto {first}", f"iface {first} inet manual"]
    lines += [f"    pre-up {command}" for command in commands(state)]
    lines += [f"    post-down {command} || true" for command in removal(state)]
    return "\n".join(lines) + "\n"


def networkd(state: KernelState) -> Mapping[str, str]:
    """Return files by path. Raises EncodeError for a state that needs more than systemd.netdev(5) has words for."""
    for link in state.links:
        if not isinstance(link.kind, (BridgeLink, GeneveLink)):
            raise EncodeError(
                link.name, "systemd-networkd can not choose tunnels by filters: want --format commands"
            )
        if isinstance(link.kind, GeneveLink) and (link.kind.vni is None or link.kind.inner_proto_inherit):
            raise EncodeError(link.name, "systemd-networkd has no such tunnel: want --format commands")
    files = {f"{_NETWORK}/{_SORT}-{link.name}.netdev": _netdev(link) for link in state.links}
    slaves: list[tuple[str, str | None, BridgePort | None, int | None]] = [
        *((link.name, link.master, link.port, None) for link in state.links),
        *((one.name, one.master, one.port, one.mtu) for one in state.attachments),
    ]
    for name, master, port, mtu in slaves:
        files[f"{_NETWORK}/{_SORT}-{name}.network"] = _sections(_network(state, name, master, port, mtu))
    files[_SERVICE] = _service(state)
    return dict(sorted(files.items()))


def _netdev(link: Link) -> str:
    kind = link.kind
    lines = ["[NetDev]", f"Name={link.name}", f"MTUBytes={link.mtu}"]
    lines += [f"MACAddress={link.mac}"] if link.mac else []
    if isinstance(kind, GeneveLink):
        lines += ["Kind=geneve", "", *_geneve(kind)]
    else:
        lines += ["Kind=bridge", "", "[Bridge]", "STP=no", "MulticastSnooping=no", "VLANFiltering=no"]
    return "\n".join([f"# {link.alias}", *lines]) + "\n"


def _geneve(kind: GeneveLink) -> Iterator[str]:
    yield "[GENEVE]"
    yield f"Id={kind.vni}"
    yield f"Remote={kind.remote}"
    yield f"DestinationPort={kind.dst_port}"
    yield f"TTL={0 if kind.ttl == 'auto' else kind.ttl}"
    yield f"TOS={1 if kind.tos == 'inherit' else kind.tos}"
    yield f"IPDoNotFragment={ {'set': 'yes', 'unset': 'no', 'inherit': 'inherit'}[kind.df] }"
    yield f"UDPChecksum={_word(yes=kind.udp_csum)}"
    yield f"UDP6ZeroChecksumTx={_word(yes=kind.udp6_zero_csum_tx)}"
    yield f"UDP6ZeroChecksumRx={_word(yes=kind.udp6_zero_csum_rx)}"


def _network(
    state: KernelState, name: str, master: str | None, port: BridgePort | None, mtu: int | None
) -> Iterator[tuple[str, list[str]]]:
    yield "Match", [f"Name={name}"]
    yield "Link", [f"MTUBytes={mtu}"] if mtu else []
    network = ["LinkLocalAddressing=no", "IPv6AcceptRA=no", "ConfigureWithoutCarrier=yes"]
    yield "Network", [*([f"Bridge={master}"] if master else []), *network]
    if port is not None:
        yield (
            "Bridge",
            [
                f"Learning={_word(yes=port.learning)}",
                f"UnicastFlood={_word(yes=port.flood)}",
                f"MulticastFlood={_word(yes=port.flood)}",
                f"NeighborSuppression={_word(yes=port.neigh_suppress)}",
                f"Isolated={_word(yes=port.isolated)}",
            ],
        )
    for entry in sorted((one for one in state.fdb if one.device == name), key=_by_mac):
        yield "BridgeFDB", [f"MACAddress={entry.mac}"]
    for neighbour in sorted((one for one in state.neighbours if one.device == name), key=_by_address):
        yield "Neighbor", [f"Address={neighbour.address}", f"LinkLayerAddress={neighbour.mac}"]


def _service(state: KernelState) -> str:
    rest = KernelState(settings=state.settings, filters=state.filters)
    lines = [
        "[Unit]",
        "Description=Filters of ovs-geneve",
        "After=systemd-networkd.service",
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        *(f"ExecStart=/bin/sh -c '{command}'" for command in commands(rest)),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _sections(sections: Iterator[tuple[str, list[str]]]) -> str:
    return "\n".join("\n".join([f"[{title}]", *lines]) + "\n" for title, lines in sections if lines)


def _word(*, yes: bool) -> str:
    return "yes" if yes else "no"


def _by_mac(entry: Fdb) -> str:
    return entry.mac


def _by_address(neighbour: Neighbour) -> str:
    return neighbour.address
