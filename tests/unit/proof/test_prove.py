# SPDX-License-Identifier: Apache-2.0
"""What the compiler makes of any intent is proved, and a violation says whose flows it is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from controller.compiler.pipeline import Table
from controller.errors import IntentError
from controller.proof.prove import prove
from ovs_geneve.openflow.actions import Resubmit
from tests.builders import Fabric, bind, host, network, port, put, small_fabric
from tests.unit.compiler.operations import HOSTS, PORTS, Operations
from tests.unit.compiler.test_golden import SCENARIOS
from tests.unit.proof.estate import Estate, estate
from tests.unit.proof.mutants import HARMFUL, in_table, where

COMMANDS = 80


def random_fabric(seed: int) -> Fabric:
    """Draw a world, plug most of its ports, and change it for a while."""
    random = Random(seed)
    fabric, operations = Fabric(), Operations(random)
    drawn = [
        *operations.world(),
        *(bind(name, random.choice(HOSTS)) for name in PORTS),
        *(operations.draw() for _ in range(COMMANDS)),
    ]
    for command in drawn:
        with suppress(IntentError):
            fabric.do(command)
    for name in HOSTS:
        interfaces = [one for port_name in PORTS for one in (port_name, f"if-{port_name}")]
        fabric.plug(name, **{one: number for number, one in enumerate(interfaces, 1)})
    return fabric


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_golden_scenario_is_proved(scenario) -> None:
    fabric = Fabric()
    scenario(fabric)
    assert prove(fabric.compiler.snapshot()).isolated


@pytest.mark.parametrize("seed", range(40))
def test_random_intents_are_proved(seed: int) -> None:
    proof = prove(random_fabric(seed).compiler.snapshot())
    assert proof.violations == ()
    assert proof.doubts == ()


def test_ports_that_nobody_hosts_are_not_counted() -> None:
    fabric = small_fabric()
    fabric.do(put("far", port("blue", 9)))
    proof = prove(fabric.compiler.snapshot())
    assert (proof.hosts, proof.networks, proof.ports) == (2, 1, 2)
    assert proof.revision == fabric.intent.revision


def test_a_violation_names_the_objects_behind_the_flows() -> None:
    mutant, _ = HARMFUL["forward: a MAC is found in every network"]
    first = mutant(Estate.of(estate())).prove().violations[0]
    causes = [hop.caused_by for hop in first.path]
    assert first.sender.split(" ")[0] in causes
    assert [hop.table for hop in first.path][:2] == ["classify", "antispoof"]
    assert first.out_of.split(" ")[0] in causes, "the flow that delivered it is its receiver's"


def test_what_is_not_understood_is_a_doubt_and_no_proof() -> None:
    mutant = where(
        in_table(Table.STAMP, priority=200),
        lambda flow: [replace(flow, actions=(*flow.actions, Resubmit(30, in_port=4)))],
    )
    proof = mutant(Estate.of(estate())).prove()
    assert not proof.isolated
    assert proof.violations == ()
    assert "in_port" in proof.doubts[0].reason


def test_two_ports_of_one_address_in_different_networks_are_told_apart() -> None:
    fabric = Fabric()
    fabric.do(
        put("hv1", host("192.0.2.1")),
        *(put(name, network(None)) for name in ("blue", "red")),
        *(put(f"{name}1", port(name, 1, "10.0.0.1")) for name in ("blue", "red")),
        *(bind(f"{name}1", "hv1") for name in ("blue", "red")),
    )
    fabric.plug("hv1", blue1=1, red1=2)
    assert prove(fabric.compiler.snapshot()).isolated


def test_an_interface_that_is_bound_elsewhere_gets_nowhere() -> None:
    fabric = small_fabric()
    fabric.plug("hv2", web1=7)
    proof = prove(fabric.compiler.snapshot())
    assert proof.isolated
    assert proof.ports == 2
