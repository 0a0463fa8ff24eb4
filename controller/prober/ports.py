# SPDX-License-Identifier: Apache-2.0
"""What the prober asks of the bridges; others implement it."""

from __future__ import annotations

from typing import Protocol

from ovs_geneve.openflow.packet_out import PacketOut


class Bridges(Protocol):
    """The bridges of the hosts that are ours."""

    def connected(self) -> frozenset[str]:
        """Return the hosts whose bridges are there: they send what they are given, and report what they see."""

    def send(self, host: str, packet: PacketOut) -> bool:
        """Have a host's bridge send a packet; False where it cannot leave."""
