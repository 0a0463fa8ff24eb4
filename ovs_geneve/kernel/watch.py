# SPDX-License-Identifier: Apache-2.0
"""Tells that something changed in the kernel: look again. What changed is for `observe` to see."""

from __future__ import annotations

import errno
import socket
from types import TracebackType

_RTMGRP_LINK, _RTMGRP_NEIGH, _RTMGRP_TC = 0x1, 0x4, 0x8
_ROUTES = 0x40 | 0x400
"RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE (linux/rtnetlink.h)."


class Watch:
    """A socket that is readable when links, neighbours, filters or routes changed; give it to `loop.add_reader`.

    It belongs to the network namespace of the thread that made it. Changes of our own show too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setblocking(False)
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_NEIGH | _RTMGRP_TC | _ROUTES))

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def drain(self) -> int:
        """Take all that has been told, and return how many datagrams it was; what was lost counts as one."""
        count = 0
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return count
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            count += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
