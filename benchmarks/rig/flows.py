# SPDX-License-Identifier: Apache-2.0
"""The flow that several benchmarks install, in three forms: a value, bytes by a template, text for ovs-ofctl.

table=20,priority=100,tun_id=…,dl_dst=… actions=set_field:…->tun_dst,set_field:…->tun_metadata0,output:10
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from benchmarks.rig.daemons import BRIDGE, OvsHost
from controller.compiler.cookies import OWNER_COOKIE
from ovs_geneve.openflow.actions import Output, SetField
from ovs_geneve.openflow.fields import ETH_DST, TUN_DST, TUN_ID, tun_metadata
from ovs_geneve.openflow.flow import Flow, Match
from ovs_geneve.openflow.template import FlowTemplate
from ovs_geneve.openflow.tlv_table import TlvMap

TABLE, PRIORITY, PORT = 20, 100, 10

OPTION = TlvMap(0x104, 0x10, 4, 0)
CONTEXT = tun_metadata(OPTION.index, OPTION.length)


class Numbers(NamedTuple):
    """What differs between two flows: the holes of `template`, in its order."""

    cookie: int
    vni: int
    mac: int
    tunnel: int
    context: int


def numbers(count: int) -> Iterator[Numbers]:
    """Give the numbers of so many different flows: 100 networks, 250 hosts."""
    for index in range(count):
        yield Numbers(
            cookie=OWNER_COOKIE | index,
            vni=5000 + index % 100,
            mac=0x02_00_00_00_00_00 | index,
            tunnel=0x0A_00_00_01 + index % 250,
            context=0x0001_0000 + index % 65_536,
        )


def flow(varying: Numbers) -> Flow:
    """Build the flow as values."""
    return Flow(
        table=TABLE,
        priority=PRIORITY,
        match=Match.of((TUN_ID, varying.vni), (ETH_DST, varying.mac)),
        actions=(SetField(TUN_DST, varying.tunnel), SetField(CONTEXT, varying.context), Output(PORT)),
        cookie=varying.cookie,
    )


def template() -> FlowTemplate:
    """Compile the flow with a hole for each of `Numbers`."""
    return FlowTemplate.of(flow(next(numbers(1))), "cookie", TUN_ID, ETH_DST, 0, 1)


def text(varying: Numbers) -> str:
    """Write the flow as a person gives it to ovs-ofctl."""
    mac = varying.mac.to_bytes(6).hex(":")
    return (
        f"cookie={varying.cookie:#x},table={TABLE},priority={PRIORITY},tun_id={varying.vni:#x},dl_dst={mac}"
        f" actions=set_field:{IPv4Address(varying.tunnel)}->tun_dst"
        f",set_field:{varying.context:#x}->tun_metadata0,output:{PORT}"
    )


def write(host: OvsHost, count: int) -> Path:
    """Write so many flows to a file in the host's folder."""
    file = host.folder / f"{count}.flows"
    file.write_text("".join(f"{text(varying)}\n" for varying in numbers(count)))
    return file


def add_bridge(host: OvsHost) -> None:
    """Make an empty bridge with one GENEVE port whose peers are set by flow."""
    host.vsctl(
        *("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "protocols=OpenFlow15", "fail_mode=secure"),
        *("--", "add-port", BRIDGE, "gnv0", "--", "set", "interface", "gnv0", "type=geneve"),
        *(f"ofport_request={PORT}", "options:remote_ip=flow", "options:key=flow"),
    )


def map_option(host: OvsHost) -> None:
    """Map the option that the flows write, as ovs-ofctl does."""
    option = f"{{class={OPTION.option_class},type={OPTION.option_type},len={OPTION.length}}}"
    host.ofctl("add-tlv-map", BRIDGE, f"{option}->tun_metadata{OPTION.index}")
