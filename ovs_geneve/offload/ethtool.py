# SPDX-License-Identifier: Apache-2.0
"""Network devices as ethtool sees them, in the network namespace of the calling thread: the one file here that asks."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType

from pyroute2.netlink import NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETADDR

from ovs_geneve.kernel import wire
from ovs_geneve.kernel.netlink import Netlink, refusal
from ovs_geneve.kernel.wire import Message
from ovs_geneve.offload import ethtool_messages as messages
from ovs_geneve.offload.nic import FEATURES, Nic

_RECEIVE = 1 << 18
_ADDRESS, _LOCAL = 1, 2
_IFADDRMSG = struct.Struct("=BBBBI")

_SIOCETHTOOL, _GDRVINFO = 0x8946, 3
"linux/sockios.h, linux/ethtool.h: the name of a driver is not told over netlink."
_DRVINFO_BYTES = 196


class Ethtool:
    """A generic netlink socket."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, 16)  # NETLINK_GENERIC
        self._socket.bind((0, 0))
        self._sequence = 0
        answer = self._ask(messages.family_request())
        self._family = messages.family_id(answer)

    def __enter__(self) -> Ethtool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def nic(self, device: str) -> Nic:
        """Look at a device; OSError when there is none."""
        features = self._ask(messages.request(self._family, messages.FEATURES_GET, device))
        try:
            answer = self._ask(messages.request(self._family, messages.TUNNEL_INFO_GET, device))
            ports = messages.tunnel_ports(answer)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            ports = None
        return Nic(
            device=device,
            driver=driver_of(device),
            features=messages.features(features, FEATURES),
            tunnel_ports=ports,
        )

    def _ask(self, message: Message) -> Message:
        self._sequence += 1
        self._socket.sendto(wire.packed(message, self._sequence, wire.ACKNOWLEDGE), (0, 0))
        answer: Message | None = None
        while True:
            for sequence, one in wire.unpacked(self._socket.recv(_RECEIVE)):
                if sequence != self._sequence:
                    continue
                if one.type != NLMSG_ERROR:
                    answer = one
                    continue
                refused = refusal(one)
                if refused is not None:
                    raise OSError(refused.number, str(refused))
                if answer is None:
                    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
                return answer


def driver_of(device: str) -> str:
    """Return the name of a device's driver; "" when it tells none."""
    buffer = bytearray(_DRVINFO_BYTES)
    struct.pack_into("=I", buffer, 0, _GDRVINFO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        address = _address_of(buffer)
        try:
            fcntl.ioctl(link, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), address))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return ""
            raise
    return bytes(buffer[4:36]).partition(b"\0")[0].decode(errors="replace")


def device_with(address: IPv4Address | IPv6Address) -> str | None:
    """Return the device that has an address; None when none has."""
    return addressed().get(address)


def addressed() -> Mapping[IPv4Address | IPv6Address, str]:
    """Return the devices that have addresses, by address. One that goes meanwhile is left out."""
    names = dict(socket.if_nameindex())
    found = dict[IPv4Address | IPv6Address, str]()
    with Netlink() as netlink:
        for one in netlink.dump(Message(RTM_GETADDR, bytes(_IFADDRMSG.size))):
            held = wire.table(one.body[_IFADDRMSG.size :])
            told = held.get(_LOCAL, held.get(_ADDRESS, b""))
            index = _IFADDRMSG.unpack_from(one.body)[4]
            if len(told) in (4, 16) and index in names:
                found.setdefault(ip_address(told), names[index])
    return found


def _address_of(buffer: bytearray) -> int:
    """Return where a buffer is, for the kernel to write to."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
