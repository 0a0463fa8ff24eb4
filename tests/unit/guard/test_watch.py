# SPDX-License-Identifier: Apache-2.0
"""What the guard decides, dump by dump."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from controller.guard.judge import Fault, Rules
from controller.guard.shield import shield_of, ufid_of
from controller.guard.watch import HOLD_SECONDS, MAX_SHIELDS, Decision, Watch
from ovs_geneve.megaflow import TunnelMegaflow
from tests.unit.guard.test_judge import CONTEXT, MAPS, RULES
from tests.unit.guard.vectors import megaflow, megaflows

PEERS = frozenset({ip_address("fd09::1"), ip_address("10.9.0.1")})
POISON = megaflow("wrong-length")
SHIELD = next(flow for flow in megaflows("shields") if flow.ufid == ufid_of(POISON))


def look(watch: Watch, *flows: TunnelMegaflow, now: float = 0.0, rules: Rules = RULES) -> Decision:
    return watch.look(flows, rules, PEERS, "dp", now)


def cure(poison: TunnelMegaflow) -> list[tuple[str, ...]]:
    shield = shield_of(poison, RULES)
    assert shield is not None
    return [("dpctl/del-flow", "dp", f"ufid:{poison.ufid}"), ("dpctl/add-flow", "dp", shield, "drop")]


def test_a_cached_drop_is_taken_out_and_a_shield_put_in_its_place() -> None:
    decision = look(Watch(), megaflows("ipv4")[0], POISON)
    assert list(decision.commands) == cure(POISON)
    (offence,) = decision.offences
    assert (offence.source, offence.vni) == (ip_address("fd09::1"), 1000)
    assert offence.verdict.fault is Fault.WRONG_LENGTH
    assert offence.cuts_off
    assert offence.packets == 3, "two counted, and the one that it was made for"


def test_nothing_is_done_about_what_flows_refuse_or_cannot_see() -> None:
    watch = Watch()
    decision = look(watch, megaflow("not-carried"), megaflow("duplicate"))
    assert decision.commands == ()
    assert {o.verdict.fault for o in decision.offences} == {Fault.NOT_CARRIED, Fault.DUPLICATE}
    assert not any(offence.cuts_off for offence in decision.offences)
    assert look(watch, megaflow("not-carried"), megaflow("duplicate")) == Decision()


def test_packets_are_counted_once() -> None:
    watch = Watch()
    look(watch, POISON)
    later = look(watch, replace(SHIELD, packets=0), now=1)
    assert later == Decision()
    (offence,) = look(watch, replace(SHIELD, packets=10), now=2).offences
    assert (offence.packets, offence.cuts_off) == (10, False)
    (offence,) = look(watch, replace(SHIELD, packets=25), now=3).offences
    assert offence.packets == 15
    (offence,) = look(watch, replace(SHIELD, packets=4), now=4).offences
    assert offence.packets == 4, "it was made anew"


def test_strangers_hurt_only_themselves() -> None:
    assert look(Watch(), replace(POISON, source=ip_address("fd09::99"))) == Decision()


def test_a_shield_is_put_back_until_no_more_bad_packets_came_for_long() -> None:
    watch = Watch()
    look(watch, POISON, now=0)
    assert list(look(watch, now=1).commands) == cure(POISON)[1:]
    assert look(watch, replace(SHIELD, packets=5), now=2).commands == ()
    assert list(look(watch, now=2 + HOLD_SECONDS).commands) == cure(POISON)[1:]
    assert look(watch, now=3 + HOLD_SECONDS) == Decision()
    assert not watch.holds_shields


def test_a_peer_that_tries_every_shape_fills_no_datapath() -> None:
    watch = Watch()
    flows = [
        replace(POISON, ufid=f"{number}", key=POISON.key.replace("0x3e8", f"{number:#x}"), tun_id=number)
        for number in range(2 * MAX_SHIELDS)
    ]
    commands = look(watch, *flows).commands
    assert sum(command[0] == "dpctl/add-flow" for command in commands) == MAX_SHIELDS
    assert sum(command[0] == "dpctl/del-flow" for command in commands) == 2 * MAX_SHIELDS


def test_all_is_taken_out_only_where_nothing_else_helps_and_ever_more_seldom() -> None:
    watch = Watch()
    hopeless = replace(megaflow("malformed"), malformed=8)
    purges = [
        now for now in range(400) if ("revalidator/purge",) in look(watch, hopeless, now=100.0 + now).commands
    ]
    assert purges == [2, 32, 92, 212]


def test_what_the_kernel_does_not_tell_is_taken_out_and_nothing_put_in_its_place() -> None:
    rules = Rules.of(MAPS, {1001: frozenset({CONTEXT})})
    watch, poison = Watch(), megaflow("kernel unknown-critical")
    for now in range(10):
        decision = look(watch, replace(poison, packets=now), rules=rules, now=now)
        assert decision.commands == (("dpctl/del-flow", "dp", f"ufid:{poison.ufid}"),), "and never a purge"
        (offence,) = decision.offences
        assert (offence.verdict.fault, offence.cuts_off) == (Fault.UNTOLD, True)
    assert not watch.holds_shields


def test_a_kernels_drop_of_options_of_another_length_cuts_nobody_off() -> None:
    rules = Rules.of(MAPS, {1001: frozenset({CONTEXT})})
    (offence,) = look(Watch(), megaflow("kernel malformed"), rules=rules).offences
    assert (offence.verdict.length, offence.cuts_off) == (20, False)


def test_shields_go_when_what_was_bad_may_be_good() -> None:
    watch = Watch()
    look(watch, POISON)
    other = Rules.of(MAPS, {1000: frozenset()})
    decision = look(watch, SHIELD, now=1, rules=other)
    assert decision.commands == (("dpctl/del-flow", "dp", f"ufid:{SHIELD.ufid}"),)
    assert not watch.holds_shields


def test_a_shield_that_another_controller_put_is_no_poison() -> None:
    decision = look(Watch(), *[replace(flow, packets=3) for flow in megaflows("shields")])
    assert decision.commands == ()
    told = {offence.verdict.fault: offence.packets for offence in decision.offences}
    assert told == {
        Fault.UNKNOWN_CRITICAL: 3,
        Fault.WRONG_LENGTH: 3,
        Fault.MALFORMED: 3,
        Fault.DUPLICATE: 4,
    }
