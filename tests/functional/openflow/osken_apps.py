# SPDX-License-Identifier: Apache-2.0
"""os-ken apps for the tests: one in the loop, one with os-ken's own thread, written as for any os-ken."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    HANDSHAKE_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)
from os_ken.ofproto import ofproto_v1_5

from ovs_geneve.openflow.osken_transport import EventConnectionEnded, LoopApp


class Recorder(LoopApp):
    """Notes who comes and goes, and the messages it gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.states: Counter[str] = Counter()
        self.died_twice = 0
        self.ended: list[tuple[str, frozenset[int] | None]] = []
        self.ready: asyncio.Queue[Any] = asyncio.Queue()
        self.messages: list[Any] = []
        self.threads: set[int] = set()
        self.fail = False

    @set_ev_cls(
        ofp_event.EventOFPStateChange,
        [HANDSHAKE_DISPATCHER, CONFIG_DISPATCHER, MAIN_DISPATCHER, DEAD_DISPATCHER],
    )
    def on_state(self, ev: Any) -> None:
        self.states[ev.state] += 1
        self.threads.add(threading.get_ident())
        if ev.state == DEAD_DISPATCHER:
            self.died_twice += hasattr(ev.datapath, "died")
            ev.datapath.died = True
        if ev.state == MAIN_DISPATCHER:
            self.ready.put_nowait(ev.datapath)

    @set_ev_cls(EventConnectionEnded)
    def on_end(self, ev: EventConnectionEnded) -> None:
        self.ended.append((ev.reason, ev.versions))

    @set_ev_cls(
        [ofp_event.EventOFPPacketIn, ofp_event.EventOFPBarrierReply, ofp_event.EventOFPErrorMsg],
        MAIN_DISPATCHER,
    )
    def on_message(self, ev: Any) -> None:
        self.messages.append(ev.msg)
        if self.fail:
            raise ValueError("a mistake in an app")

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def on_features(self, ev: Any) -> None:
        # os-ken's own handler came first.
        assert ev.msg.datapath.id == ev.msg.datapath_id


class Threaded(OSKenApp):
    """An ordinary app: it asks for a barrier when a switch is there and remembers where it ran."""

    OFP_VERSIONS = [ofproto_v1_5.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.threads_seen: set[int] = set()
        self.barriers = 0
        self.answered = threading.Event()

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def on_main(self, ev: Any) -> None:
        self.threads_seen.add(threading.get_ident())
        ev.datapath.send_barrier()

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def on_barrier(self, ev: Any) -> None:
        self.barriers += 1
        self.answered.set()
