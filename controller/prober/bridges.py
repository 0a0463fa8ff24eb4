# SPDX-License-Identifier: Apache-2.0
"""The prober's way to the bridges that the reconciler programs: packets out by host, probes in by bridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controller.prober.model import Sighting
from controller.prober.packet import sighting_of
from controller.southbound.ports import SwitchChannel
from ovs_geneve.openflow.packet_in import PacketIn
from ovs_geneve.openflow.packet_out import PacketOut


class Fleet(Protocol):
    """Who knows which bridge is whose (`controller.reconciler.bridges.Bridges`)."""

    def connected_hosts(self) -> frozenset[str]:
        """Return the hosts whose bridges are connected."""

    def channel(self, host: str) -> SwitchChannel | None:
        """Return the way to a host's bridge; None while it is not connected."""

    def host_of(self, dpid: int) -> str | None:
        """Return whose bridge it is."""


class FleetBridges:
    """Implements Bridges and PacketTaker."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.sighted: Callable[[str, Sighting], None] | None = None
        "Gets the probes that bridges report, with the host."

    def connected(self) -> frozenset[str]:
        """Return the hosts whose bridges are connected."""
        return self._fleet.connected_hosts()

    def send(self, host: str, packet: PacketOut) -> bool:
        """Have a host's bridge send a packet."""
        channel = self._fleet.channel(host)
        return channel is not None and channel.send_packet(packet)

    def take_packet(self, dpid: int, packet: PacketIn) -> None:
        """Take a probe that a bridge sent up."""
        host = self._fleet.host_of(dpid)
        if host is not None and self.sighted is not None:
            self.sighted(host, sighting_of(packet))
