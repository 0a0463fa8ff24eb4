# SPDX-License-Identifier: Apache-2.0
"""How much a bridge works for a connection: megaflows in the datapath, OpenFlow tables its first packet visits."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass

from controller.compiler.pipeline import TUNNEL_NAME
from controller.lab import Lab, LabHost
from controller.lab.settings import interface_name
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import Packet, decode

BRIDGE = "br-int"

_LOOKUP = re.compile(r"^ *(\d+)\. ", re.MULTILINE)
_NOT_A_CONNECTION_S = re.compile(r"eth\([^)]*dst=(?:33:33|01:00:5e|ff:ff:ff)|proto=(?:1|58)\b")
"Multicast and broadcast, ICMP and neighbour discovery."
_TLV_MAP = re.compile(r"^ *0x([0-9a-f]+) +0x([0-9a-f]+) +\d+ +(tun_metadata\d+)", re.MULTILINE)

ETHERTYPES = {4: 0x0800, 6: 0x86DD}

_ETHERNET, _IPV6_HEADER = 14, 40
_TCP = 6
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Syn:
    """A TCP SYN on its way from host to host."""

    outer: OuterPacket
    packet: Packet


def megaflows(host: LabHost, version: int) -> tuple[str, ...]:
    """Return the megaflows on a host that unicast IP traffic of this version needs, within the tunnel and around it."""
    inner = f"eth_type({ETHERTYPES[version]:#06x})"
    return tuple(
        line.partition(", packets:")[0] + ", actions:" + line.partition("actions:")[2]
        for line in host.appctl("dpctl/dump-flows").splitlines()
        if "tnl_pop" in line or (inner in line and not _NOT_A_CONNECTION_S.search(line))
    )


def purge(host: LabHost) -> None:
    """Empty the datapath: the next packets make the megaflows anew."""
    host.appctl("revalidator/purge")


def capture_syn(lab: Lab, receiver: LabHost, connected: AbstractContextManager[None]) -> Syn:
    """Return the first SYN that reaches a host's underlay while `connected` is entered."""
    with lab.capture(receiver, expression="udp port 6081") as capture, connected:
        pass
    with capture.path.open("rb") as stream:
        for frame in read_capture(stream):
            outer = find_geneve(frame.linktype, frame.data)
            if isinstance(outer, OuterPacket):
                packet = decode(outer.geneve)
                if _is_syn(packet.payload):
                    return Syn(outer=outer, packet=packet)
    raise DecodeError("capture", "no SYN in it")


def lookups_sending(host: LabHost, port: str, syn: Syn) -> int:
    """Return how many tables a SYN visits on the host of the workload that sends it."""
    return _trace(host, f"in_port={interface_name(port)}", syn, r"output to (native|kernel) tunnel")


def lookups_receiving(host: LabHost, port: str, syn: Syn) -> int:
    """Return how many tables a SYN visits on the host where it leaves the tunnel."""
    fields = {
        (int(option_class, 16), int(option_type, 16)): field
        for option_class, option_type, field in _TLV_MAP.findall(host.ofctl("dump-tlv-map", BRIDGE))
    }
    family = "ipv6_" if syn.outer.source.version == 6 else ""
    flow = [
        f"in_port={TUNNEL_NAME}",
        f"tun_id={syn.packet.header.vni}",
        f"tun_{family}src={syn.outer.source}",
        f"tun_{family}dst={syn.outer.destination}",
        *(
            f"{fields[each.option_class, each.option_type]}=0x{each.data.hex()}"
            for each in syn.packet.options
        ),
    ]
    ofport = host.vsctl("--no-wait", "get", "Interface", interface_name(port), "ofport").strip()
    return _trace(host, ",".join(flow), syn, rf"output:{ofport}\b")


def _trace(host: LabHost, flow: str, syn: Syn, outcome: str) -> int:
    said = host.appctl("ofproto/trace", BRIDGE, flow, syn.packet.payload.hex())
    if not re.search(outcome, said):
        raise RuntimeError(f"{host.name}: no {outcome} for a SYN:\n{said}")
    return len(_LOOKUP.findall(said))


def _is_syn(frame: bytes) -> bool:
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == ETHERTYPES[4]:
        protocol, tcp = frame[23], _ETHERNET + 4 * (frame[_ETHERNET] & 0x0F)
    elif ethertype == ETHERTYPES[6]:
        protocol, tcp = frame[20], _ETHERNET + _IPV6_HEADER
    else:
        return False
    return protocol == _TCP and frame[tcp + 13] & (_SYN | _ACK) == _SYN
