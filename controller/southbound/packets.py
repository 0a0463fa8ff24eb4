# SPDX-License-Identifier: Apache-2.0
"""Packets between the controller and bridges: each that comes up goes to who asked for its kind, others are counted.

Who takes packets must be quick and keep nothing that grows with them: a peer decides how many come. The meters of the
bridge and the inbox of each connection limit that; see compiler/meters.py and openflow/packet_inbox.py.
"""

from __future__ import annotations

from collections import Counter

from controller.compiler.punts import Punt
from controller.southbound.ports import PacketTaker, SwitchChannel
from ovs_geneve.openflow.packet_in import PacketIn
from ovs_geneve.openflow.packet_out import PacketOut


class PacketExchange:
    """Where packets are handed over. Implements PacketEvents."""

    def __init__(self) -> None:
        self._takers: dict[int, PacketTaker] = {}
        self._channels: dict[int, SwitchChannel] = {}
        self.received: Counter[int] = Counter()
        "Packets by punt; without a taker they end here."

    def register(self, punt: Punt, taker: PacketTaker) -> None:
        """Give packets of this kind to `taker` from now on."""
        self._takers[punt] = taker

    def send(self, dpid: int, packet: PacketOut) -> bool:
        """Have a bridge send a packet; False where it is not connected or does not keep up."""
        channel = self._channels.get(dpid)
        return channel is not None and channel.send_packet(packet)

    def switch_connected(self, dpid: int, channel: SwitchChannel) -> None:
        """Take note of the way to a bridge."""
        self._channels[dpid] = channel

    def switch_disconnected(self, dpid: int, channel: SwitchChannel) -> None:
        """Forget a way that ended, unless another one has taken its place."""
        if self._channels.get(dpid) is channel:
            del self._channels[dpid]

    def packet_arrived(self, dpid: int, packet: PacketIn) -> None:
        """Hand over a packet that came up."""
        punt = packet.userdata[0]
        self.received[punt] += 1
        taker = self._takers.get(punt)
        if taker is not None:
            taker.take_packet(dpid, packet)
