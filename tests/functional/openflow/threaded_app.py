# SPDX-License-Identifier: Apache-2.0
"""An os-ken app as `osken-manager` used to load it: by the name of its module."""

from __future__ import annotations

from typing import Any

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls


class BarrierAtStart(OSKenApp):
    """Sends a barrier to each switch."""

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def on_main(self, ev: Any) -> None:
        ev.datapath.send_barrier()
