# SPDX-License-Identifier: Apache-2.0
"""Frames of an interface as they pass, from a packet socket (packet(7))."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import click

from ovs_geneve.geneve.capture import CapturedFrame

_ETH_P_ALL = 3
_LINKTYPE_ETHERNET = 1
_MOST = 65535


def live_frames(interface: str) -> Iterator[CapturedFrame]:
    """Yield frames in both directions until the caller stops; ClickException where the kernel refuses."""
    try:
        # Protocol 0 until it is bound: packets of other interfaces must not be among the first.
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        packets.bind((interface, _ETH_P_ALL))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {interface}: {error.strerror} (are you root?)"
        ) from error
    with packets:
        while True:
            data, address = packets.recvfrom(_MOST)
            if interface == "lo" and address[2] == socket.PACKET_OUTGOING:
                continue  # on loopback every packet passes twice
            yield CapturedFrame(timestamp_ns=time.time_ns(), linktype=_LINKTYPE_ETHERNET, data=data)
