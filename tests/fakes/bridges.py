# SPDX-License-Identifier: Apache-2.0
"""Bridges that do with packet-outs of the prober what the pipeline of the far end does, one turn of the loop later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from controller.intent.model import Address
from controller.prober.model import Sighting
from ovs_geneve.geneve.probe import decode, encode
from ovs_geneve.openflow.actions import SetField
from ovs_geneve.openflow.fields import TUN_DST, TUN_ID, TUN_IPV6_DST, is_tun_metadata
from ovs_geneve.openflow.packet_out import PacketOut


class FakeBridges:
    """Implements controller.prober.ports.Bridges."""

    def __init__(self, endpoints: Callable[[], Mapping[str, tuple[Address, ...]]]) -> None:
        self._endpoints = endpoints
        self.sighted: Callable[[str, Sighting], None] | None = None
        self.away: set[str] = set()
        self.unreachable: set[str] = set()
        "Hosts that nothing arrives at."
        self.holds = False
        "Nothing arrives anywhere as long as this is so."
        self.sent: list[tuple[str, PacketOut]] = []

    def connected(self) -> frozenset[str]:
        return frozenset(self._endpoints().keys() - self.away)

    def send(self, host: str, packet: PacketOut) -> bool:
        if host in self.away:
            return False
        self.sent.append((host, packet))
        asyncio.get_running_loop().call_soon(self._arrive, host, packet)
        return True

    def _arrive(self, source: str, packet: PacketOut) -> None:
        values = {action.field: action.value for action in packet.actions if isinstance(action, SetField)}
        towards = IPv4Address(values[TUN_DST]) if TUN_DST in values else IPv6Address(values[TUN_IPV6_DST])
        endpoints = self._endpoints()
        target = next(host for host, addresses in endpoints.items() if towards in addresses)
        if target in self.unreachable or self.holds or self.sighted is None:
            return
        request = Sighting(
            frame=packet.data,
            vni=values[TUN_ID],
            source=next(a for a in endpoints[source] if a.version == towards.version),
            options={
                int(field.name.removeprefix("tun_metadata")): value.to_bytes(field.width)
                for field, value in values.items()
                if is_tun_metadata(field)
            },
        )
        if target not in self.away:
            self.sighted(target, request)
        frame = encode(replace(decode(packet.data), echo=True))
        self.sighted(source, replace(request, frame=frame, source=towards))
