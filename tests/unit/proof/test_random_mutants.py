# SPDX-License-Identifier: Apache-2.0
"""Flows that are changed blindly: where any packet that is tried gets out, the proof says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from controller.compiler.pipeline import Table
from controller.proof.packets import Packets
from controller.proof.prove import prover_of
from controller.proof.prover import Finding, Prover
from controller.proof.space import Cube
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Output, SetField
from ovs_geneve.openflow.flow import Flow, Match
from tests.unit.proof.estate import PORTS, Estate, estate
from tests.unit.proof.frames import Frames

MUTANTS = 30
PACKETS = 60
"A host."


@pytest.fixture(scope="module")
def sound() -> Estate:
    return Estate.of(estate())


def test_what_packets_show_is_found(sound: Estate) -> None:
    harmful = 0
    for seed in range(MUTANTS):
        random = Random(seed)
        broken = replace(sound, hosts=dict(sound.hosts))
        changed = ""
        for _ in range(3):
            changed += changed_blindly(random, broken)
        shown = next(tried(random, broken), None)
        proof = broken.prove()
        if shown is not None:
            harmful += 1
            assert proof.violations, (seed, changed, shown.reason)
    assert harmful > MUTANTS // 10, "hardly any change did harm: nothing was tested"


def changed_blindly(random: Random, estate_: Estate) -> str:
    """Change one flow of a host in any way; say which."""
    host = random.choice(sorted(estate_.hosts))
    flows, groups = estate_.hosts[host]
    at = random.randrange(len(flows))
    after = random.choice((less_asked, otherwise_set, sent_on, out_of))(random, flows[at])
    estate_.hosts[host] = (*flows[:at], after, *flows[at + 1 :]), groups
    return f"{host}: {flows[at]} -> {after}\n"


def less_asked(random: Random, flow: Flow) -> Flow:
    terms = list(flow.match.terms)
    kinds = (f.ETH_TYPE, f.IP_PROTO, f.ICMPV6_TYPE)
    free = [term for term in terms if term.field not in kinds]
    if free:
        terms.remove(random.choice(free))
    return replace(flow, match=Match.of(*terms))


def otherwise_set(random: Random, flow: Flow) -> Flow:
    actions = [
        replace(one, value=one.value ^ 1 << random.randrange(5))
        if isinstance(one, SetField) and one.mask is None
        else one
        for one in flow.actions
    ]
    return replace(flow, actions=tuple(actions))


def sent_on(random: Random, flow: Flow) -> Flow:
    after = [table for table in Table if table > flow.table]
    return replace(flow, goto=random.choice(after)) if after else flow


def out_of(random: Random, flow: Flow) -> Flow:
    return replace(flow, actions=(*flow.actions, Output(random.choice((1, 2, 3, 4, 6081)))))


def tried(random: Random, broken: Estate) -> Iterator[Finding]:
    """Send packets one by one; yield what none may do."""
    prover = prover_of(broken.facts, broken.hosts, broken.lengths)
    for host in PORTS:
        ways = {way.ofport: way for way in prover.ways_into(broken.facts.hosts[host]) if way.port is not None}
        frames = Frames(random, prover, broken.facts.hosts[host])
        for _ in range(PACKETS):
            packet = frames.draw()
            way = ways.get(packet.value_of(prover.layout, f.IN_PORT))
            if way is not None:
                yield from prover.findings(way, sent_by(prover, packet, way.packets))


def sent_by(prover: Prover, packet: Packets, among: Packets) -> Packets:
    """Return the packet as the one of many that a port can send."""
    return among._replace(cube=Cube(packet.cube.value, prover.layout.everything))
