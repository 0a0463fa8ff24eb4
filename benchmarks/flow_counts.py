# SPDX-License-Identifier: Apache-2.0
"""How many flows a bridge holds, asked on its own OpenFlow socket: lighter than an ovs-ofctl for each sample.

Knows nothing of the controller's code: two messages of OpenFlow 1.3 by hand.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_VERSION = 4
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY = 0, 1, 2, 3
_MULTIPART_REQUEST, _MULTIPART_REPLY, _AGGREGATE = 18, 19, 2
_HEADER = struct.Struct("!BBHI")
_ANY = 0xFFFFFFFF
# ofp_multipart_request, then ofp_aggregate_stats_request: every table, any port and group, any cookie, empty match.
_REQUEST = (
    _HEADER.pack(_VERSION, _MULTIPART_REQUEST, 56, 2)
    + struct.pack("!HH4x", _AGGREGATE, 0)
    + struct.pack("!B3xII4xQQ", 0xFF, _ANY, _ANY, 0, 0)
    + struct.pack("!HH4x", 1, 4)
)
_FLOW_COUNT = struct.Struct("!16x16xI")


class FlowCounter:
    """One bridge's socket, connected anew whenever its vswitchd was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def count(self) -> int | None:
        """Return the number of flows, None while nobody answers."""
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(_REQUEST)
            return int(_FLOW_COUNT.unpack_from(self._answer(self._socket, _MULTIPART_REPLY), 0)[0])
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.settimeout(10)
            connected.connect(str(self._path))
            connected.sendall(_HEADER.pack(_VERSION, _HELLO, 8, 1))
            self._answer(connected, _HELLO)
        except OSError:
            connected.close()
            raise
        return connected

    def _answer(self, connected: socket.socket, wanted: int) -> bytes:
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
