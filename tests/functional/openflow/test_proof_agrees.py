# SPDX-License-Identifier: Apache-2.0
"""What the proof takes a bridge to do with a packet is what Open vSwitch does with it, flow by flow.

Each packet goes through `ofproto/trace` on a bridge that holds a host's flows, and through the model that the proof
follows sets of packets with: the same flows are hit as often, and the packet leaves by the same ports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from controller.compiler.pipeline import TUNNEL_OFPORT
from controller.hoststate import HostState
from controller.proof.bridge import Walk
from controller.proof.packets import Packets
from controller.proof.prove import prover_of
from controller.proof.prover import Prover
from controller.proof.witness import described
from ovs_geneve.openflow.actions import OFPP_IN_PORT
from tests.functional.openflow.conftest import Connection, Switch, Vswitchd
from tests.unit.proof.estate import PORTS, Estate, estate
from tests.unit.proof.frames import Frames

PACKETS = 200
"A host."

NEW = 0x21
"Tracked and new: what ofproto/trace takes conntrack to say."

_HIT = re.compile(r"^ *(\d+)\. (?:.*, )?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$")
_OUTPUT = re.compile(r"^ *output:(\S+)$")
_BACK = re.compile(r"^ *IN_PORT$")
_SKIPPED = re.compile(r">> skipping output to input port")


@pytest.fixture(scope="module", params=sorted(PORTS))
def host(request: pytest.FixtureRequest, vswitchd: Vswitchd) -> Iterator[tuple[str, Switch]]:
    """Make a bridge with four dummy ports and the tunnel, and an address so that tunnels have a route."""
    name = f"proof{request.param}"
    version = "protocols=OpenFlow13,OpenFlow15"
    vswitchd.vsctl(
        *("add-br", name, "--", "set", "bridge", name, "datapath_type=system", version, "fail_mode=secure")
    )
    for number in PORTS[request.param].values():
        interface = f"{name}p{number}"
        options = ("type=dummy", f"ofport_request={number}")
        vswitchd.vsctl("add-port", name, interface, "--", "set", "interface", interface, *options)
    options = ("type=geneve", f"ofport_request={TUNNEL_OFPORT}", "options:remote_ip=flow", "options:key=flow")
    vswitchd.vsctl("add-port", name, f"{name}gnv", "--", "set", "interface", f"{name}gnv", *options)
    connection = Connection.open(vswitchd.folder / f"{name}.mgmt")
    yield request.param, Switch(vswitchd, name, connection)
    connection.link.close()
    vswitchd.vsctl("del-br", name)


def hold(switch: Switch, state: HostState) -> None:
    """Have a bridge hold what a host should."""
    switch.map_options(
        *(
            f"{{class={one.option_class:#x},type={one.option_type},len={one.length}}}->tun_metadata{one.index}"
            for one in state.tlv_maps
        )
    )
    for meter in state.meters:
        switch.ofctl("add-meter", f"meter={meter.meter_id},pktps,band=type=drop,rate=10")
    switch.connection.install(*(group.message for group in state.groups.values()))
    switch.connection.install(*(held.message for held in state.flows.values()))


def test_the_model_does_what_open_vswitch_does(host: tuple[str, Switch]) -> None:
    name, switch = host
    fabric = estate()
    sound = Estate.of(fabric)
    prover = prover_of(sound.facts, sound.hosts, sound.lengths)
    hold(switch, fabric.compiler.desired(name))
    frames = Frames(Random(f"packets for {name}"), prover, sound.facts.hosts[name])
    outputs, ties = Counter[int](), 0
    for number in range(PACKETS):
        packet = frames.draw()
        text = described(prover.layout, packet)
        trace = switch.trace(text.replace("+oam", "oam"))
        (hits, left), (seen, went) = modelled(prover, name, packet), traced(trace, f"{switch.name}gnv")
        outputs += left
        told = f"packet {number}: {text}\n{trace}"
        if hits == seen:
            assert left == went, told
            continue
        # Of flows with one priority OVS takes one: the model takes all, for any may be it.
        ties += 1
        assert not seen - hits, told
        assert {hit[:2] for hit in hits} == {hit[:2] for hit in seen}, told
        assert left.keys() == went.keys(), told
    assert ties < PACKETS // 4
    assert outputs[TUNNEL_OFPORT] > PACKETS // 20, "hardly anything went far: nothing was compared"
    assert all(outputs[port] for port in PORTS[name].values())


def modelled(
    prover: Prover, host: str, packet: Packets
) -> tuple[Counter[tuple[int, int, int]], Counter[int]]:
    """Return the flows that the model has a packet hit, and where it leaves."""
    walk = Walk(prover.bridges[host], tracked=NEW)
    walk.came.hits = []
    came = walk.run(packet)
    hits = Counter((step.table, step.priority, step.cookie) for step in walk.came.hits)
    return hits, Counter(OFPP_IN_PORT if one.back else one.port for one in came.emissions)


def traced(trace: str, tunnel: str) -> tuple[Counter[tuple[int, int, int]], Counter[int]]:
    """Return the same as Open vSwitch has it."""
    hits, left = Counter[tuple[int, int, int]](), Counter[int]()
    last = 0
    for line in trace.splitlines():
        if hit := _HIT.match(line):
            hits[int(hit[1]), int(hit[2]), int(hit[3] or "0", 16)] += 1
        elif output := _OUTPUT.match(line):
            last = TUNNEL_OFPORT if output[1] == tunnel else int(output[1])
            left[last] += 1
        elif _BACK.match(line):
            left[OFPP_IN_PORT] += 1
        elif _SKIPPED.search(line):
            left[last] -= 1
    return hits, +left
