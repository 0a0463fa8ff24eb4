# SPDX-License-Identifier: Apache-2.0
"""Does the way to each peer carry what interfaces may send into tunnels? Routes are asked, no packet is sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from controller.intent.mtu import OVERHEAD
from controller.kernels.report import KernelProblem
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.kernel.objects import GeneveLink, KernelState, Link, TunnelSet
from ovs_geneve.kernel.steps import subject

_IP_MTU, _IPV6_MTU = 14, 24
"Of the route of a connected socket (linux/in.h, linux/in6.h)."

_ETHERNET = 14

PathMtu = Callable[[str, int], int | None]
"Of an address and a UDP port; None where nothing leads there."


class _Tunnel(NamedTuple):
    device: Link
    remote: str
    port: int
    added: int
    "Bytes in front of the packet of a workload, outer headers among them."


def path_mtu(address: str, port: int) -> int | None:
    """Ask the routes of the calling thread's network namespace how large packets to an address may be."""
    is_ipv6 = ":" in address
    family, level = (socket.AF_INET6, socket.IPPROTO_IPV6) if is_ipv6 else (socket.AF_INET, socket.IPPROTO_IP)
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((address, port))
            return trial.getsockopt(level, _IPV6_MTU if is_ipv6 else _IP_MTU)
        except OSError:
            return None


def too_narrow(desired: KernelState, ask: PathMtu) -> tuple[KernelProblem, ...]:
    """Name the devices whose workloads may send more than the underlay carries to some peer.

    Where no MTU is set nobody said what the underlay carries, and nothing is asked.
    """
    largest = _largest(desired)
    known = dict[tuple[str, int], int | None]()
    problems = dict[tuple[str, str], KernelProblem]()
    for tunnel in sorted(_tunnels(desired), key=lambda one: (one.device.name, one.remote, -one.added)):
        inner = largest.get(tunnel.device.master or "")
        way = tunnel.remote, tunnel.port
        if inner is None or (tunnel.device.name, tunnel.remote) in problems:
            continue
        carried = known[way] if way in known else known.setdefault(way, ask(*way))
        if carried is not None and inner + tunnel.added > carried:
            problems[tunnel.device.name, tunnel.remote] = KernelProblem(
                object=subject(tunnel.device),
                reason="UnderlayMtu",
                message=f"packets of {inner} bytes take {inner + tunnel.added} to {tunnel.remote}, the underlay "
                f"carries {carried}: declare underlay_mtu {carried} for the host, or widen its underlay",
            )
    return tuple(problems.values())


def _largest(desired: KernelState) -> dict[str, int]:
    """Return what interfaces of workloads may send, by their bridge or routing domain."""
    found = dict[str, int]()
    for one in desired.attachments:
        if one.mtu is not None:
            found[one.master] = max(one.mtu, found.get(one.master, 0))
    return found


def _tunnels(desired: KernelState) -> Iterator[_Tunnel]:
    links = {one.name: one for one in desired.links}
    for link in desired.links:
        if isinstance(link.kind, GeneveLink) and link.kind.remote is not None:
            saved = _ETHERNET if link.kind.inner_proto_inherit else 0
            yield _Tunnel(link, link.kind.remote, link.kind.dst_port, _outer(link.kind.remote) - saved)
    for one in desired.filters:
        for action in one.actions:
            if isinstance(action, TunnelSet) and one.device in links:
                options = sum(OPTION_HEADER_LENGTH + len(option.data) // 2 for option in action.options)
                yield _Tunnel(links[one.device], action.dst, action.dst_port, _outer(action.dst) + options)


def _outer(remote: str) -> int:
    return OVERHEAD[ip_address(remote).version]
