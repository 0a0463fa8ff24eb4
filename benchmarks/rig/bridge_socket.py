# SPDX-License-Identifier: Apache-2.0
"""A bridge's own OpenFlow socket: how many flows it holds, and changes to them with no controller in between.

Lighter than an ovs-ofctl for each sample. Knows nothing of the controller's code: OpenFlow 1.3 by hand.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path

_VERSION = 4
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY, _FLOW_MOD = 0, 1, 2, 3, 14
_MULTIPART_REQUEST, _MULTIPART_REPLY, _AGGREGATE = 18, 19, 2
_BARRIER_REQUEST, _BARRIER_REPLY = 20, 21
_ANY = 0xFFFFFFFF
_PATIENCE = 10.0

_HEADER = struct.Struct("!BBHI")
# ofp_multipart_request, then ofp_aggregate_stats_request: every table, any port and group, any cookie, empty match.
_COUNT_REQUEST = (
    _HEADER.pack(_VERSION, _MULTIPART_REQUEST, 56, 2)
    + struct.pack("!HH4x", _AGGREGATE, 0)
    + struct.pack("!B3xII4xQQ", 0xFF, _ANY, _ANY, 0, 0)
    + struct.pack("!HH4x", 1, 4)
)
_FLOW_COUNT = struct.Struct("!16x16xI")
_BARRIER = _HEADER.pack(_VERSION, _BARRIER_REQUEST, 8, 3)
_FLOW_BODY = struct.Struct("!QQBBHHHIIIH2x")
# ofp_match of 14 bytes, padded to 16: OXM_OF_ETH_DST.
_ETH_DST = struct.Struct("!HHI6s2x")
_OXM_ETH_DST = 0x80000606


class Command(IntEnum):
    """What a flow_mod does (enum ofp_flow_mod_command)."""

    ADD = 0
    DELETE_STRICT = 4


def flow_mod(command: Command, table: int, mac: int) -> bytes:
    """Encode a flow that drops what goes to an address."""
    body = _FLOW_BODY.pack(0, 0, table, command, 0, 0, 1, _ANY, _ANY, _ANY, 0)
    match = _ETH_DST.pack(1, 14, _OXM_ETH_DST, mac.to_bytes(6, "big"))
    return _HEADER.pack(_VERSION, _FLOW_MOD, _HEADER.size + len(body) + len(match), 4) + body + match


class BridgeSocket:
    """One bridge's socket, connected anew whenever its vswitchd was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def count(self) -> int | None:
        """Return the number of flows, None while nobody answers."""
        try:
            connected = self._connected()
            connected.sendall(_COUNT_REQUEST)
            return int(_FLOW_COUNT.unpack_from(_answer(connected, _MULTIPART_REPLY))[0])
        except OSError:
            self.close()
            return None

    def send(self, messages: Iterable[bytes]) -> None:
        """Send messages and a barrier behind them."""
        self._connected().sendall(b"".join(messages) + _BARRIER)

    def wait(self) -> None:
        """Wait until everything sent is carried out; raise OSError when something was refused."""
        _answer(self._connected(), _BARRIER_REPLY)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = _connect(self._path)
        return self._socket


def change_all(bridges: Sequence[BridgeSocket], messages: Sequence[bytes]) -> None:
    """Send the same messages to every bridge; return when all have carried them out."""
    for bridge in bridges:
        bridge.send(messages)
    for bridge in bridges:
        bridge.wait()


def _connect(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(_PATIENCE)
        connected.connect(str(path))
        connected.sendall(_HEADER.pack(_VERSION, _HELLO, 8, 1))
        _answer(connected, _HELLO)
    except OSError:
        connected.close()
        raise
    return connected


def _answer(connected: socket.socket, wanted: int) -> bytes:
    """Read until a message of the wanted type; answer echo requests meanwhile."""
    while True:
        header = _read(connected, _HEADER.size)
        _, kind, length, xid = _HEADER.unpack(header)
        body = _read(connected, length - _HEADER.size)
        if kind == wanted:
            return header + body
        if kind == _ECHO_REQUEST:
            connected.sendall(_HEADER.pack(_VERSION, _ECHO_REPLY, length, xid) + body)
        elif kind == _ERROR:
            raise OSError(f"OpenFlow error {body[:4].hex()}")


def _read(connected: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connected.recv(size - len(data))
        if not more:
            raise ConnectionError("the bridge hung up")
        data += more
    return data
