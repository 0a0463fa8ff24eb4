# SPDX-License-Identifier: Apache-2.0
"""os-ken's programming model on asyncio: its apps, events, handshake and codecs without its threads.

    loop ─ Channel ─ LoopDatapath ─┬─ answers to the session: raw bytes ─► Switch ─► awaiting coroutine
                                   ├─ packets with userdata ─► Switch.packet_ins
                                   └─ all the rest, decoded by os-ken ─► os-ken's OFPHandler, then observers

An app that derives from `LoopApp` has its `set_ev_cls` handlers called in the loop, at once; it must not block.
Any other Ryu or os-ken app is loaded beside it unchanged and works in its own thread through os-ken's queue.

Each connection that is accepted (after TLS) gives one EventOFPStateChange with HANDSHAKE_DISPATCHER and, when
it ends however it ends, exactly one with DEAD_DISPATCHER; `datapath.id` is None where it never told its
datapath identifier. EventConnectionEnded follows and says why.

`LoopDatapath.__init__` does not call that of os-ken's Datapath, which would start its queue on a blocking socket.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
from collections.abc import Callable
from typing import Any

from os_ken.base.app_manager import AppManager, OSKenApp, lookup_service_brick
from os_ken.controller import ofp_event
from os_ken.controller.controller import Datapath
from os_ken.controller.event import EventBase, EventRequestBase
from os_ken.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER
from os_ken.controller.ofp_handler import OFPHandler
from os_ken.lib import hub
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ovs_geneve.errors import NotSupported
from ovs_geneve.openflow.channel import Channel, Timing
from ovs_geneve.openflow.endpoints import Endpoints
from ovs_geneve.openflow.mailbox import Mailbox
from ovs_geneve.openflow.messages import VERSION, decode_header
from ovs_geneve.openflow.packet_in import as_standard, encode_packet_in_setup, has_userdata, is_packet_in
from ovs_geneve.openflow.session import FIRST_XID, Session, claims
from ovs_geneve.openflow.switch import Switch

LOG = logging.getLogger(__name__)

QUEUED_FROM_THREADS = 1024
"Messages that apps in threads may have under way on one connection before `send` makes them wait."

SEND_PATIENCE = 5.0
"Seconds that `send` makes a thread wait before it gives up and returns False."

_STOCK_HANDLER = "os_ken.controller.ofp_handler"


class EventConnectionEnded(EventBase):  # type: ignore[misc]  # os-ken is untyped
    """A connection is over. `versions` are those a switch offered where 1.5 is not among them, else None."""

    def __init__(self, datapath: LoopDatapath, reason: str, versions: frozenset[int] | None) -> None:
        super().__init__()
        self.datapath = datapath
        self.reason = reason
        self.versions = versions


class LoopApp(OSKenApp):  # type: ignore[misc]  # os-ken is untyped
    """An os-ken app whose handlers run in the loop. Make it while the loop runs.

    An exception in a handler is logged with its traceback and ends nothing else, as in os-ken.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._mailboxes: dict[Any, Mailbox] = {}

    def start(self) -> None:
        """Start no thread."""

    def stop(self) -> None:
        """Take no further events."""
        self.is_active = False

    def send_event(self, name: str, ev: Any, state: Any = None) -> None:
        """Send an event to one app; never waits, although the queue of an app with a thread is short."""
        app = lookup_service_brick(name)
        if app is None or isinstance(app, LoopApp):
            super().send_event(name, ev, state)
            return
        if isinstance(ev, EventRequestBase):
            ev.src = self.name
        if app not in self._mailboxes:
            self._mailboxes[app] = Mailbox(app, self._loop)
        self._mailboxes[app].put((ev, state))

    def send_request(self, req: Any) -> Any:
        """Refuse: waiting for another app's answer would stop the loop."""
        raise RuntimeError("an app in the loop cannot wait for a reply: send the request with send_event")

    def handle(self, ev: Any, state: Any) -> None:
        """Call the handlers of this event that are meant for this state."""
        if not self.is_active:
            return
        for handler in list(self.get_handlers(ev, state)):
            try:
                handler(ev)
            except Exception:  # an app's fault must end neither the connection nor another app
                LOG.exception("%s: handler %s failed", self.name, handler.__name__)

    def _send_event(self, ev: Any, state: Any) -> None:
        if threading.get_ident() == self._thread:
            self.handle(ev, state)
        else:
            self._loop.call_soon_threadsafe(self.handle, ev, state)


class LoopHandler(LoopApp, OFPHandler):  # type: ignore[misc]  # os-ken is untyped
    """os-ken's hello, features, port and echo handler, without its server."""

    _EVENTS = [EventConnectionEnded]


class LoopDatapath(Datapath):  # type: ignore[misc]  # os-ken is untyped
    """One connection of a switch, as os-ken's apps know it; `switch` is the fast lane beside it."""

    def __init__(self, channel: Channel, handler: LoopHandler, session: Session) -> None:
        ProtocolDesc.__init__(self, VERSION)
        self.switch = Switch(session, channel.pull)
        self.undecodable = 0
        "Messages dropped because os-ken's decoder raised."
        self.ofp_brick = handler
        self.is_active = True
        self.id: int | None = None
        self.address: Any = None
        self.socket: Any = None
        self.state: str | None = None
        self.unreplied_echo_requests: list[int] = []
        self._ports = None
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._room = threading.BoundedSemaphore(QUEUED_FROM_THREADS)
        # Sessions have the upper half. `next` is atomic, so that threads may share it.
        self._xids = itertools.count(random.randrange(1, FIRST_XID))

    @property
    def supported_ofp_version(self) -> frozenset[int]:
        """Tell os-ken's hello handler that there is 1.5 only."""
        return frozenset((VERSION,))

    def connected(self) -> None:
        """Begin os-ken's handshake (the channel calls this)."""
        self.address = self._channel.peer
        self.socket = self._channel.socket
        self.set_state(HANDSHAKE_DISPATCHER)

    def message(self, message: bytes) -> None:
        """Give a message to the session where it answers it, to os-ken else (the channel calls this)."""
        if is_packet_in(message):
            self._packet_in(message)
            return
        rest = self.switch.receive(message) if claims(message) else message
        if rest is not None:
            self._to_apps(rest)

    def data_to_send(self) -> bytes:
        """Give the session's next bytes (the channel calls this)."""
        return self.switch.data_to_send()

    def lost(self, reason: str, versions: frozenset[int] | None) -> None:
        """End what is waited for and tell the apps (the channel calls this)."""
        LOG.info("connection of switch %s at %r ended: %s", self.id, self.address, reason)
        self.is_active = False
        self.switch.lost(reason)
        self.set_state(DEAD_DISPATCHER)
        ended = EventConnectionEnded(self, reason, versions)
        self.ofp_brick.send_event_to_observers(ended, DEAD_DISPATCHER)

    def set_state(self, state: str) -> None:
        """Change the state and tell the observers; once in MAIN the connection is probed and gets packets."""
        if state == MAIN_DISPATCHER and self.state != MAIN_DISPATCHER:
            self._channel.established()
            self._channel.write(encode_packet_in_setup(xid=next(self._xids) % FIRST_XID))
        super().set_state(state)

    def set_xid(self, msg: Any) -> int:
        """Give a message its transaction identifier, in the half that is not the session's."""
        xid = next(self._xids) % FIRST_XID
        msg.set_xid(xid)
        return xid

    def send(self, buf: bytes | bytearray, close_socket: bool = False) -> bool:
        """Send bytes, from the loop at once; from a thread through it, waiting while too many are under way."""
        if threading.get_ident() == self._thread:
            return self._write(bytes(buf), close_socket)
        if not self.is_active or not self._room.acquire(timeout=SEND_PATIENCE):
            return False
        try:
            self._loop.call_soon_threadsafe(self._write_for_thread, bytes(buf), close_socket)
        except RuntimeError:  # the loop is closed, and the connection with it
            self._room.release()
            return False
        return True

    def close(self) -> None:
        """Close the connection after what is queued is sent; DEAD comes when it is gone."""
        if threading.get_ident() == self._thread:
            self._channel.close("closed by an app")
        else:
            self._loop.call_soon_threadsafe(self._channel.close, "closed by an app")

    def _write_for_thread(self, data: bytes, close: bool) -> None:
        self._room.release()
        self._write(data, close)

    def _write(self, data: bytes, close: bool) -> bool:
        sent = self._channel.write(data)
        if close:
            self._channel.close("closed by an app")
        return sent

    def _packet_in(self, message: bytes) -> None:
        inbox = self.switch.packet_ins
        if inbox.listener is not None and has_userdata(message):
            inbox.put(message)
        else:
            self._to_apps(as_standard(message))

    def _to_apps(self, message: bytes) -> None:
        header = decode_header(message)
        try:
            parsed = self.ofproto_parser.msg_parser(self, *header, message)
            event = ofp_event.ofp_msg_to_ev(parsed)
        except Exception:  # os-ken's decoders raise whatever they run into; the connection lives on
            self.undecodable += 1
            LOG.warning(
                "switch %s: os-ken cannot decode message type %d, %d bytes",
                self.id,
                header.type,
                header.length,
            )
            LOG.debug("how it failed", exc_info=True)
            return
        state = self.state
        self.ofp_brick.handle(event, state)
        self.ofp_brick.send_event_to_observers(event, state)


class AppHost:
    """Loads os-ken's handler and apps into the running loop; one at a time in a process, as os-ken has it."""

    def __init__(self) -> None:
        if hub.HUB_TYPE != "native":
            raise NotSupported(f"os-ken's hub {hub.HUB_TYPE!r}", "OSKEN_HUB_TYPE=native, os-ken's default")
        self._manager = AppManager()
        self.handler: LoopHandler = self._manager.instantiate(LoopHandler)

    def add(self, app: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make and start one app of this class; other arguments are for its `__init__`."""
        _check_version(app)
        made = self._manager.instantiate(app, *args, **kwargs)
        _start(made)
        return made

    def load(self, *modules: str) -> None:
        """Load unmodified apps by module name, with what they require, as `osken-manager` did; call it once."""
        self._manager.load_apps(modules)
        # Apps require the stock handler by its name: ours has its place and its events.
        self._manager.applications_cls.pop(_STOCK_HANDLER, None)
        for app in self._manager.applications_cls.values():
            _check_version(app)
        running = set(self._manager.applications)
        contexts = self._manager.create_contexts()
        for name, app in self._manager.applications_cls.items():
            self._manager._instantiate(name, app, **contexts)
        self._manager._update_bricks()
        for name in set(self._manager.applications) - running:
            _start(self._manager.applications[name])

    async def close(self) -> None:
        """Stop every app; those with threads get their queue worked off first."""
        for name, app in reversed(tuple(self._manager.applications.items())):
            if isinstance(app, LoopApp):
                self._manager.uninstantiate(name)
            else:
                await asyncio.to_thread(self._manager.uninstantiate, name)
        self._manager.close()


class OpenFlowServer(Endpoints):
    """Where switches connect or are dialled: each becomes a LoopDatapath of the apps in `host`."""

    def __init__(
        self, host: AppHost, *, timing: Timing | None = None, session: Callable[[], Session] = Session
    ) -> None:
        self._handler = host.handler
        self._timing = timing or Timing()
        self._session = session
        super().__init__(self._connect)

    def _connect(self, channels: set[Channel]) -> Channel:
        channel = Channel(channels, self._timing)
        channel.receiver = LoopDatapath(channel, self._handler, self._session())
        return channel


def _start(app: Any) -> None:
    thread = app.start()
    if thread is not None:
        app.set_main_thread(thread)


def _check_version(app: Any) -> None:
    versions = getattr(app, "OFP_VERSIONS", None)
    if versions is not None and VERSION not in versions:
        # os-ken would narrow the versions of the whole process to those of this app.
        raise NotSupported(f"os-ken app {app.__name__}", "OpenFlow 1.5 in its OFP_VERSIONS")
