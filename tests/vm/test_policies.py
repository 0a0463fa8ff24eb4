# SPDX-License-Identifier: Apache-2.0
"""What policies do on the kernel's datapath: by options, by headers, by groups, stateless and stateful."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from controller.intent.model import GroupSpec, Kind, OptionMatch, PolicyAction
from controller.intent.rules import (
    Copy,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    SetDscp,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)
from controller.lab import Datapath
from tests.system import test_antispoof as lies
from tests.system.conversations import tcp, udp
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wire, marked, token
from tests.system.test_policies import (
    CONTEXT,
    HOP,
    LAST,
    TIER,
    TRAIL,
    ZONE,
    World,
    egress,
    frame,
    heard,
    heard_raw,
    ingress,
    options_on_the_wire,
    pass_on,
)
from tests.vm.conftest import Prove
from tests.vm.datapath import megaflow

pytestmark = pytest.mark.system

TCP = 6


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=3, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    for name in ("web", "db"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    return overlay


@pytest.fixture
def world(overlay: Overlay) -> World:
    return World(overlay)


def test_option_policies(world: World, prove: Prove) -> None:
    here, beside, there = world.here, world.beside, world.there
    web = PacketMatch(protocol=17, destination_ports=(PortRange(79, 82),))
    with world.policies(rule=ingress(to_port=there.name, packet=web, action=PolicyAction.DROP)):
        assert heard(world, here, frame(here, there, dport=81)) == {}
        flow = megaflow(world.overlay.lab.host("hv2"), "in_port(genev_sys_6081)", "actions:drop")
        assert heard(world, here, frame(here, there, dport=83), there) == {there.name: 1}
        prove("drop by headers", flow)
    tier2 = (OptionMatch(schema="context", field="tier", value=2, mask=0xFF),)
    with world.policies(allowed=ingress(to_port=there.name, match=tier2, action=PolicyAction.ALLOW)):
        assert heard(world, here, frame(here, there), there) == {there.name: 1}
        assert heard(world, beside, frame(beside, there)) == {}
        prove("allow by an option's field, all else is refused", "tier 2 was heard, tier 0 was not")
    rules = (Stamp(TIER, 0x55), StampFrom(ZONE, PacketField.DSCP), Copy(LAST, ZONE), Strip("trail"))
    for kept, names in ((rules[:3], {"context", "trail"}), (rules, {"context"})):
        with world.policies(rule=egress(*kept, from_port=here.name)):
            [options] = options_on_the_wire(world, here, frame(here, there, tos=46 << 2))
        assert options["context"] == {"tier": 0x55, "zone": 46}
        assert options.keys() == names
        prove("stamp, stamp from DSCP, copy" + ", strip" * (len(kept) > 3), f"on the wire: {options}")


def test_mirror_chain_and_dscp(world: World, prove: Prove) -> None:
    here, there, tap, service = world.here, world.there, world.tap, world.beside
    with world.policies(rule=egress(Mirror(tap.name), from_port=here.name)):
        assert heard(world, here, frame(here, there), there, tap) == {there.name: 1, tap.name: 1}
        flow = megaflow(world.overlay.lab.host("hv1"), "in_port(w-blue1)", "set(tunnel(tun_id=0xc0")
        prove("mirror to a port of a third host", flow)
    with world.policies(chain=egress(Steer((service.name,), HOP), from_port=here.name, to_port=there.name)):
        mark = token()
        with world.wires() as wires:
            wires[here.name].send(marked(frame(here, there), mark))
            pass_on(wires[service.name], mark)
            counts = wires.counts_after(mark, [there.name])
        assert counts == {service.name: 1, there.name: 1}
        prove("chain through a service", f"heard: {counts}")
    with world.policies(rule=ingress(SetDscp(12), to_port=there.name)):
        with Wire(world.overlay.lab, there.name) as wire:
            mark = token()
            heard_raw(world, here, marked(frame(here, there, tos=46 << 2), mark), wire, mark)
            [arrived] = [Ether(each) for each in wire.heard() if mark in each]
        assert arrived[IP].tos >> 2 == 12
        prove("DSCP is set at the receiver", f"46 was sent, {arrived[IP].tos >> 2} arrived")


def test_no_lie_leaves_a_port(world: World, prove: Prove) -> None:
    """Those of tests/system/test_antispoof.py, to everybody and to one beside and one far, all at once."""
    targets = (lies.NEAR, lies.FAR)
    assert (world.here.mac, world.there.ipv4) == (lies.ME.mac, lies.FAR.ipv4)
    told = [each for lie in lies.LIES.values() for each in (lie, *(lies.to_one(lie, one) for one in targets))]
    marks = [token() for _ in told]
    with world.wires() as wires:
        for lie, mark in zip(told, marks, strict=True):
            wires[world.here.name].send(marked(lie, mark))
        last = token()
        wires[world.here.name].send(marked(lies.HONEST["IPv4"], last))
        heard_by = wires.counts_after(last, [world.beside.name, world.there.name])
        assert not [lie.summary() for lie, mark in zip(told, marks, strict=True) if wires.counts(mark)]
    prove(
        "no false MAC, IP, ARP or ND leaves a port", f"{len(told)} lies unheard, the truth heard: {heard_by}"
    )


@pytest.fixture
def grouped(overlay: Overlay) -> tuple[Endpoint, Endpoint]:
    overlay.network("blue", options=("identity",))
    return overlay.port("blue", "hv1", 1, group="web"), overlay.port("blue", "hv2", 2, group="db")


@pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])
def test_policies_between_groups(
    overlay: Overlay, grouped: tuple[Endpoint, Endpoint], prove: Prove, stateful: bool
) -> None:
    web, db = grouped
    ports = (PortRange(5432, 5432),)
    # Nothing may begin towards web: what answers it comes in only where the policy keeps state.
    overlay.rule("ssh-web", "blue", "web", from_group="db", protocol=TCP, ports=(PortRange(22, 22),))
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=ports, stateful=stateful)
    overlay.rule("web-dns", "blue", "db", from_group="web", protocol=17, stateful=stateful)
    for version in (4, 6):
        assert tcp(overlay, web, db, 5432, version=version) is stateful
        assert udp(overlay, web, db, 53, version=version) == (True, stateful)
        assert not tcp(overlay, db, web, 80, version=version)
    if stateful:
        flow = megaflow(overlay.lab.host("hv1"), "in_port(genev_sys_6081)", "ct_state(")
        prove("stateful group policy: replies come in, nothing begins", flow)
    else:
        flow = megaflow(overlay.lab.host("hv2"), "in_port(genev_sys_6081)", "class=0xff6e", "actions:w-blue2")
        prove("stateless group policy: the sender's identity is matched, replies stay out", flow)
