# SPDX-License-Identifier: Apache-2.0
"""The Ryu app: os-ken's events in, switches handed to the reconciler.

What a bridge should hold never passes through here: see reconciler/ for that. Other Ryu apps run beside it.
"""

from __future__ import annotations

from typing import Any

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_5

from controller.southbound.openflow import SwitchLink
from controller.southbound.ports import PacketEvents, SwitchEvents
from ovs_geneve.openflow.osken_transport import LoopApp


class GeneveApp(LoopApp):
    """Tells `switches` which bridges come, answer and go, and `packets` what they send up."""

    OFP_VERSIONS = [ofproto_v1_5.OFP_VERSION]

    def __init__(self, *args: Any, switches: SwitchEvents, packets: PacketEvents, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._switches = switches
        self._packets = packets
        self._links: dict[Any, SwitchLink] = {}

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]  # os-ken is untyped
    def state_changed(self, ev: Any) -> None:
        """Take over a bridge once os-ken's handshake is done, and let go of it when its connection ends."""
        datapath = ev.datapath
        if ev.state == MAIN_DISPATCHER:
            self._take_over(datapath)
        elif datapath in self._links:
            link = self._links.pop(datapath)
            self._packets.switch_disconnected(datapath.id, link)
            self._switches.switch_disconnected(datapath.id, link)

    def _take_over(self, datapath: Any) -> None:
        dpid, switch = datapath.id, datapath.switch
        link = SwitchLink(switch, lambda link, event: self._switches.switch_event(dpid, link, event))
        self._links[datapath] = link
        switch.packet_ins.listener = lambda packet: self._packets.packet_arrived(dpid, packet)
        self._packets.switch_connected(dpid, link)
        self._switches.switch_connected(dpid, link)
