# SPDX-License-Identifier: Apache-2.0
"""Many OpenFlow 1.5 switches in one process: they speak as Open vSwitch does and keep next to nothing.

    python -m benchmarks.rig.fake_switches            (asked through `benchmarks.rig.children`)

A switch comes empty, acknowledges whatever it is sent and counts it; bundles are cut by the length of their messages,
not parsed. Only a switch that is watched keeps what it was given, so that it can be compared with what was meant.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from ipaddress import IPv4Address
from struct import Struct

from benchmarks.rig.children import Answer, answer_for_ever
from benchmarks.rig.tunnels import Tunnels
from ovs_geneve.openflow.bundle import BundleControl
from ovs_geneve.openflow.messages import MessageType, encode_hello, encode_message
from ovs_geneve.openflow.template import OFPFC_DELETE_STRICT, GroupCommand, message_key

_HEADER = Struct("!BBHI")
_MULTIPART_MORE = Struct("!HH4x")
_BUNDLE_CONTROL = Struct("!IHH")
_TLV_REPLY = Struct("!IIIH10x")
_NICIRA = 0x2320
_TLV_REQUEST, _TLV_ANSWER = 25, 26
_OPTION_SPACE, _OPTION_FIELDS = 256, 64

_BUNDLE_ADD, _BARRIER_REQUEST = int(MessageType.BUNDLE_ADD_MESSAGE), int(MessageType.BARRIER_REQUEST)
_WRAPPER = 16
"Bytes of a bundle add before the message in it (header, bundle, flags)."

_COMMAND_AT = 25
_RETRY = 0.5


class FakeSwitch(asyncio.Protocol):
    """One switch, over as many connections as it makes."""

    def __init__(self, dpid: int, port: int, *, watched: bool) -> None:
        self.dpid = dpid
        self.since_connect = 0
        "Flow and group messages."
        self.messages = 0
        "The same, of all connections."
        self.commits = 0
        self._heard: list[bytes] | None = [] if watched else None
        "All that came over this connection, where the switch is watched: to look at it at once would take too long."
        self.on_commit: Callable[[], None] | None = None
        self.on_packet: Callable[[bytes], None] = _drop
        "Gets the packet-outs."
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._rest = b""
        self._sticks = False
        self._unsaid = b""
        "What a switch that got stuck has yet to answer."

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def dial(self) -> None:
        """Connect, now and whenever the connection ends."""
        self._dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(_RETRY)
            else:
                return

    def restart(self) -> None:
        """Hang up, forget everything and come back, as a vswitchd that is killed."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, message: bytes) -> None:
        """Send a message that nobody asked for."""
        if self._transport is not None:
            self._transport.write(message)

    def stick(self, sticks: bool) -> None:
        """Read no more from the next flow on, or go on."""
        self._sticks = sticks
        if not sticks and self._transport is not None:
            self._transport.write(self._unsaid)
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = self._unsaid = b""
        if self._heard is not None:
            self._heard.clear()
        self.since_connect = 0
        transport.write(encode_hello())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.dial()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._rest:
            data = self._rest + data
        at, end, unpack = 0, len(data), _HEADER.unpack_from
        adds, answers = 0, list[bytes]()
        while end - at >= _HEADER.size:
            _, kind, length, xid = unpack(data, at)
            if at + length > end:
                break
            if kind != _BUNDLE_ADD:
                answers += self._answer(kind, xid, data[at : at + length])
            else:
                adds += 1
            at += length
        self._rest = data[at:]
        if self._heard is not None:
            self._heard.append(data[:at])
        self.since_connect += adds
        self.messages += adds
        if adds and self._sticks:
            self._transport.pause_reading()
            self._unsaid = b"".join(answers)
        elif answers:
            self._transport.write(b"".join(answers))

    def _answer(self, kind: int, xid: int, message: bytes) -> list[bytes]:
        match kind:
            case MessageType.BARRIER_REQUEST:
                return [encode_message(MessageType.BARRIER_REPLY, xid=xid)]
            case MessageType.BUNDLE_CONTROL:
                return [self._control(xid, message)]
            case MessageType.PACKET_OUT:
                self.on_packet(message)
                return []
            case MessageType.ECHO_REQUEST:
                return [encode_message(MessageType.ECHO_REPLY, message[8:], xid=xid)]
            case MessageType.FEATURES_REQUEST:
                return [
                    encode_message(MessageType.FEATURES_REPLY, self.dpid.to_bytes(8) + bytes(16), xid=xid)
                ]
            case MessageType.MULTIPART_REQUEST:
                # No port, no group, no flow.
                part = _MULTIPART_MORE.pack(int.from_bytes(message[8:10]), 0)
                return [encode_message(MessageType.MULTIPART_REPLY, part, xid=xid)]
            case MessageType.EXPERIMENTER if int.from_bytes(message[12:16]) == _TLV_REQUEST:
                body = _TLV_REPLY.pack(_NICIRA, _TLV_ANSWER, _OPTION_SPACE, _OPTION_FIELDS)
                return [encode_message(MessageType.EXPERIMENTER, body, xid=xid)]
            case _:
                return []

    def _control(self, xid: int, message: bytes) -> bytes:
        bundle, control, flags = _BUNDLE_CONTROL.unpack_from(message, 8)
        if control == BundleControl.COMMIT_REQUEST:
            self.commits += 1
            if self.on_commit is not None:
                asyncio.get_running_loop().call_soon(self.on_commit)
        # Each reply's number is that of its request and one.
        return encode_message(
            MessageType.BUNDLE_CONTROL, _BUNDLE_CONTROL.pack(bundle, control + 1, flags), xid=xid
        )

    def held(self) -> dict[bytes, bytes]:
        """Return the flow and group messages that stand, by key; since no bundle is refused, commits need no look."""
        assert self._heard is not None, "only watched switches remember anything"
        stream, at, held = b"".join(self._heard), 0, dict[bytes, bytes]()
        while at < len(stream):
            _, kind, length, _ = _HEADER.unpack_from(stream, at)
            if kind == _BUNDLE_ADD:
                _hold(held, stream[at + _WRAPPER : at + length])
            at += length
        return held


def _drop(_message: bytes) -> None:
    """Do what a switch does with a packet that no flow takes."""


def _hold(held: dict[bytes, bytes], message: bytes) -> None:
    if message[1] == MessageType.FLOW_MOD:
        key = message_key(message)
        gone = message[_COMMAND_AT] == OFPFC_DELETE_STRICT
    else:
        key = b"group" + message[12:16]
        gone = int.from_bytes(message[8:10]) == GroupCommand.DELETE
    if gone:
        held.pop(key, None)
    else:
        held[key] = message[:4] + bytes(4) + message[8:]


def digest(messages: Iterable[bytes]) -> str:
    """Return a short text that is equal for equal sets of messages."""
    return blake2b(b"".join(sorted(messages)), digest_size=16).hexdigest()


class Switches:
    """All switches of the process, and what the benchmark asks of them."""

    def __init__(self) -> None:
        self._switches: dict[int, FakeSwitch] = {}
        self._rounds: Counter[int] = Counter()

    async def start(self, port: int, dpids: list[int], watched: list[int]) -> Answer:
        """Make switches that dial a port of this machine."""
        for dpid in dpids:
            switch = self._switches[dpid] = FakeSwitch(dpid, port, watched=dpid in watched)
            switch.dial()
        return {"switches": len(dpids)}

    async def join(self, endpoints: dict[str, str]) -> Answer:
        """Let switches reach each other through tunnels; given are their endpoints, by dpid."""
        found = {IPv4Address(address): self._switches[int(dpid)] for dpid, address in endpoints.items()}
        tunnels = Tunnels({address: switch.send for address, switch in found.items()})
        for address, switch in found.items():
            switch.on_packet = partial(tunnels.carry, address)
        return {"joined": len(found)}

    async def counts(self) -> Answer:
        """Count what all switches got."""
        switches = self._switches.values()
        return {
            "connected": sum(switch.is_connected for switch in switches),
            "messages": sum(switch.messages for switch in switches),
            "commits": sum(switch.commits for switch in switches),
        }

    async def count(self, dpid: int) -> Answer:
        """Count what a switch got since it connected."""
        return {"messages": self._switches[dpid].since_connect}

    async def held(self, dpid: int) -> Answer:
        """Tell what a watched switch holds."""
        held = self._switches[dpid].held()
        return {"messages": len(held), "digest": digest(held.values())}

    async def restart(self, dpid: int) -> Answer:
        """Have a switch come back empty."""
        self._switches[dpid].restart()
        return {}

    async def stick(self, dpid: int, sticks: bool) -> Answer:
        """Have a switch read no more from the next flow on, or go on."""
        self._switches[dpid].stick(sticks)
        return {}

    async def keep_restarting(self, dpid: int, messages: int) -> Answer:
        """Have a switch come back empty, and again each time that it got so many messages."""
        switch = self._switches[dpid]
        self._rounds[dpid] = 0

        def committed() -> None:
            if switch.since_connect >= messages:
                self._rounds[dpid] += 1
                switch.restart()

        switch.on_commit = committed
        switch.restart()
        return {}

    async def rounds(self, dpid: int) -> Answer:
        """Tell how often it had everything."""
        return {"rounds": self._rounds[dpid]}

    async def rest(self, dpid: int) -> Answer:
        """End that."""
        self._switches[dpid].on_commit = None
        return {}


async def main() -> None:
    """Answer questions by the names of the methods of `Switches`."""
    switches = Switches()
    names = (
        "start",
        "join",
        "counts",
        "count",
        "held",
        "restart",
        "stick",
        "keep_restarting",
        "rounds",
        "rest",
    )
    await answer_for_ever({name: getattr(switches, name) for name in names})


if __name__ == "__main__":
    asyncio.run(main())
