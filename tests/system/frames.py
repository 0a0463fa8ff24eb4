# SPDX-License-Identifier: Apache-2.0
"""GENEVE packets by hand, sent from a host's underlay interface as if its own Open vSwitch had, and many of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from controller.lab import LabHost, namespaces
from controller.lab.machine import UNDERLAY_LINK

_BURST = 64
_QUEUE = 100_000
"Bytes in one socket buffer of ovs-vswitchd at which the sender waits; it holds twice as many."


def option(option_class: int, option_type: int, data: bytes, *, length: int | None = None) -> bytes:
    """An option TLV; `length` in words says otherwise than the data."""
    words = len(data) // 4 if length is None else length
    return option_class.to_bytes(2) + bytes((option_type, words)) + data


def geneve(source: LabHost, target: LabHost, vni: int, options: bytes, inner: bytes) -> bytes:
    """A frame from one host to another, with the C bit where an option is critical."""
    critical = any(options[at + 2] & 0x80 for at in range(0, min(len(options), 1) * 4, 4))
    header = bytes((len(options) // 4, critical << 6, 0x65, 0x58)) + vni.to_bytes(3) + b"\0"
    return tunnelled(source, target, header + options + inner)


def tunnelled(source: LabHost, target: LabHost, payload: bytes) -> bytes:
    """A frame from one host to another's GENEVE port, whatever is in it."""
    network = IP if isinstance(source.endpoint, IPv4Address) else IPv6
    frame = (
        Ether(src=source.endpoint_mac, dst=target.endpoint_mac)
        / network(src=str(source.endpoint), dst=str(target.endpoint))
        / UDP(sport=50000, dport=6081)
        / Raw(payload)
    )
    return bytes(frame)


def send(
    host: LabHost, frames: Sequence[bytes], count: int, *, pause: float = 0.0, receiver: LabHost | None = None
) -> float:
    """Send so many frames in turn from a host's underlay interface; return how many seconds it took.

    With a `receiver` none is lost: the sender waits for its ovs-vswitchd.
    """

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.bind((UNDERLAY_LINK, 0))
        return made

    began = time.monotonic()
    with namespaces.inside(host.namespace, opened) as raw:
        for number in range(count):
            raw.send(frames[number % len(frames)])
            if number % _BURST == _BURST - 1:
                time.sleep(pause)
                while receiver is not None and _queued(receiver) > _QUEUE:
                    time.sleep(0.0002)
    return time.monotonic() - began


def _queued(host: LabHost) -> int:
    """Return how many bytes wait in the fullest packet socket of a host's namespace (its column Rmem)."""
    lines = Path(f"/proc/{host.vswitchd_pid}/net/packet").read_text(encoding="ascii").splitlines()
    return max(int(line.split()[6]) for line in lines[1:])
