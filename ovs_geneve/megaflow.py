# SPDX-License-Identifier: Apache-2.0
"""Megaflows that came out of a GENEVE tunnel, as `ovs-appctl dpctl/dump-flows -m` prints them. Pure.

Only what concerns options is taken apart (OVS lib/odp-util.c, format_odp_tun_attr and format_geneve_opts). With -m OVS
prints the options of the packet that the megaflow was made for even where it does not match on them: a mask of 0
follows then. The kernel's datapath keeps of the packet only what the megaflow matches on (Linux
net/openvswitch/datapath.c, ovs_flow_cmd_new): the rest is zeros, which read as options of one word each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH

_FLOW = re.compile(
    r"ufid:(?P<ufid>[0-9a-f-]{36}), (?P<key>.*?tunnel\((?P<tunnel>.*?geneve\((?P<options>.*?)\)(?P<rest>,.*?)?\)),"
    r".*?), packets:(?P<packets>\d+), .*actions:(?P<actions>[^,]*)"
)
_OPTION = re.compile(
    r"\{class=(0x[0-9a-f]+|0)(/0)?,type=(0x[0-9a-f]+|0)(?:/0)?,len=(\d+)(?:/0)?"
    r"(?:,(?:0x)?[0-9a-f]+(?:/(?:0x)?[0-9a-f]+)?)?\}"
)
_REMAINING = re.compile(r"opt len \d+ greater than remaining (\d+)")
_SOURCE = re.compile(r"(?:^|,)(?:ipv6_)?src=([0-9a-f.:]+)")
_TUN_ID = re.compile(r"tun_id=(0x[0-9a-f]+)")
_ETH_TYPE = re.compile(r"eth_type\((0x[0-9a-f]+)\)")


class OptionHeader(NamedTuple):
    """What a megaflow tells of one option: everything but its data."""

    option_class: int
    option_type: int
    length: int
    "Bytes of data."


NOTHING = OptionHeader(0, 0, 0)
"How a word of options reads that the kernel does not tell of."


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelMegaflow:
    """One megaflow of packets from a tunnel."""

    ufid: str
    key: str
    "As printed, for commands that take a flow."
    options_text: str
    "Within `key`."
    source: IPv4Address | IPv6Address
    tun_id: int
    eth_type: int
    "Of the inner frame; 0 for one that has none."
    options: tuple[OptionHeader, ...]
    malformed: int
    "Bytes at the end that are no option; 0 when the options fill the header."
    untold: int
    "Bytes of options of which the kernel tells no more than that; there are no `options` then."
    sees_options: bool
    "False: packets with other options of the same length as a whole match as well."
    refused_unseen: bool
    "OVS could not make sense of the options and dropped the packet before any flow saw it."
    packets: int
    drops: bool


def parse_megaflows(dump: str) -> Iterator[TunnelMegaflow]:
    """Yield the megaflows of GENEVE tunnels in a dump; lines of other kinds are passed over."""
    for line in dump.splitlines():
        # Most lines of a large dump are none of these, and the expression is slow on them.
        if "geneve(" in line and (found := _FLOW.search(line)) is not None:
            flow = _megaflow(found)
            if flow is not None:
                yield flow


def _megaflow(found: re.Match[str]) -> TunnelMegaflow | None:
    source, tun_id = _SOURCE.search(found["tunnel"]), _TUN_ID.search(found["tunnel"])
    if source is None or tun_id is None or "recirc_id(0)" not in found["key"]:
        return None
    options = _OPTION.findall(found["options"])
    headers = tuple(OptionHeader(int(each[0], 16), int(each[2], 16), int(each[3])) for each in options)
    remaining = _REMAINING.search(found["options"])
    eth_type = _ETH_TYPE.search(found["key"])
    drops = found["actions"] == "drop"
    wild = all(option[1] for option in options)
    untold = len(headers) * OPTION_HEADER_LENGTH if wild and set(headers) == {NOTHING} else 0
    return TunnelMegaflow(
        ufid=found["ufid"],
        key=found["key"],
        options_text=found["options"],
        source=ip_address(source[1]),
        tun_id=int(tun_id[1], 16),
        eth_type=0 if eth_type is None else int(eth_type[1], 16),
        options=() if untold else headers,
        malformed=0 if remaining is None else int(remaining[1]),
        untold=untold,
        sees_options=not wild,
        # A translation that went through matches on all tunnel flags and prints them plainly; one that broke off
        # leaves out the O bit, and signs show what it does match on (OVS ofproto/tunnel.c, tnl_wc_init).
        refused_unseen=drops and wild and bool(re.search(r"flags\([-+]", found["rest"] or "")),
        packets=int(found["packets"]),
        drops=drops,
    )
