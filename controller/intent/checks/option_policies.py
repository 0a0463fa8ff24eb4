# SPDX-License-Identifier: Apache-2.0
"""The rules for option policies."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import field_of, pointer
from controller.intent.checks.groups import check_group
from controller.intent.checks.policies import check_priority
from controller.intent.checks.rules import check_actions, check_packet
from controller.intent.conditions import MAX_FLOWS_OF_POLICY, flows_of_policy, steer_of
from controller.intent.identity import GROUP_FIELD, IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    Kind,
    NetworkSpec,
    Object,
    OptionDirection,
    OptionMatch,
    OptionPolicySpec,
    Payload,
    object_id,
)

MAX_FLOWS_OF_NETWORK = 10_000
"In one direction, which is one table."


def settle(intent: Intent, name: str, spec: OptionPolicySpec) -> OptionPolicySpec:
    """Check a policy against its network, and that no other one decides the same packets at its priority."""
    check_priority(spec.priority)
    network = intent.networks.get(spec.network)
    if network is None:
        raise Invalid("network-unknown", f"there is no network {spec.network}", pointer="/network")
    if network.spec.payload is Payload.IP:
        reason = f"network {network.name} is one of IP: no policy looks at its packets"
        raise Invalid("payload-cannot", reason, pointer="/network", holder=network.id)
    _check_selectors(intent, network, spec)
    check_packet(spec.packet)
    check_actions(intent, network, spec)
    _check_said_once(spec)
    settled = replace(spec, match=_settle_match(intent, network, spec.match, spec.direction))
    _check_size(intent, name, settled)
    _check_alone(intent, name, settled)
    _check_chain(intent, name, settled)
    return settled


def check_port(intent: Intent, network: str, name: str, at: str) -> None:
    """Refuse a port that is not there, or that is in another network."""
    port = intent.ports.get(name)
    if port is None:
        raise Invalid("port-unknown", f"there is no port {name}", pointer=at)
    if port.spec.network != network:
        raise Invalid(
            "port-elsewhere", f"port {name} is in network {port.spec.network}", pointer=at, holder=port.id
        )


def _check_selectors(intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec) -> None:
    for side, port, group in (
        ("from", spec.from_port, spec.from_group),
        ("to", spec.to_port, spec.to_group),
    ):
        if port is not None and group is not None:
            raise Invalid("selector-invalid", "a port or a group, not both", pointer=pointer(side))
        if port is not None:
            check_port(intent, network.name, port, pointer(side, "port"))
        if group is not None:
            check_group(intent, network, group, pointer(side, "group"))
    if spec.direction is Direction.EGRESS and spec.to_group is not None:
        reason = "where a packet is sent, of its destination only the MAC is known: say a port, or direction ingress"
        raise Invalid("to-group-unknown", reason, pointer="/to/group")


def _check_said_once(spec: OptionPolicySpec) -> None:
    """Refuse conditions on what a selector is carried out with: a flow matches a field once."""
    packet, ingress = spec.packet, spec.direction is Direction.INGRESS
    if ingress and spec.from_port is not None and packet.source_mac is not None:
        reason = "`from` says a port, and so its MAC"
        raise Invalid("match-duplicate", reason, pointer="/match/source_mac")
    if not ingress and spec.to_port is not None and packet.destination_mac is not None:
        reason = "`to` says a port, and so its MAC"
        raise Invalid("match-duplicate", reason, pointer="/match/destination_mac")
    groups = [match for match in spec.match if (match.schema, match.field) == (IDENTITY, GROUP_FIELD)]
    if spec.from_group is not None and groups:
        at = pointer("match", "option", f"{IDENTITY}.{GROUP_FIELD}")
        raise Invalid("match-duplicate", "`from` says a group, and so its identity", pointer=at)


def _settle_match(
    intent: Intent, network: Object[NetworkSpec], matches: tuple[OptionMatch, ...], direction: Direction
) -> tuple[OptionMatch, ...]:
    settled = dict[str, OptionMatch]()
    for match in matches:
        selector = f"{match.schema}.{match.field}"
        at = pointer("match", "option", selector)
        options = network.spec.options
        bits = field_of(intent, network.name, options, match, at=at).bits
        _check_bits(match, bits, at)
        way = intent.option_schemas[match.schema].spec.direction
        if way is OptionDirection.RECEIVE and direction is Direction.EGRESS:
            reason = f"{match.schema} comes from others: no packet carries it where it is sent"
            raise Invalid("option-receive-only", reason, pointer=at)
        if way is OptionDirection.SEND:
            reason = f"{match.schema} is for others to read: policies match what is both sent and received"
            raise Invalid("option-send-only", reason, pointer=at)
        if selector in settled:
            raise Invalid("match-duplicate", f"{selector} is there twice", pointer=at)
        settled[selector] = match
    return tuple(sorted(settled.values()))


def _check_bits(match: OptionMatch, bits: int, at: str) -> None:
    if not 0 < match.mask < 1 << bits:
        # A mask of 0 would match the presence of the option, and every packet of a network has it.
        raise Invalid("mask-out-of-range", f"{match.mask:#x}: want 1 to {(1 << bits) - 1:#x}", pointer=at)
    if match.value < 0 or match.value & ~match.mask:
        raise Invalid("value-outside-mask", f"{match.value:#x} is not within {match.mask:#x}", pointer=at)


def _check_size(intent: Intent, name: str, spec: OptionPolicySpec) -> None:
    own = flows_of_policy(spec)
    if own > MAX_FLOWS_OF_POLICY:
        reason = f"it is {own} flows: want at most {MAX_FLOWS_OF_POLICY}; fewer ranges of ports, or several policies"
        raise Conflict("policy-too-large", reason, pointer="/match")
    held = intent.option_policies.get(name)
    flows = own + intent.flows_of_policies(spec.network, spec.direction, MAX_FLOWS_OF_POLICY)
    if held is not None and (held.spec.network, held.spec.direction) == (spec.network, spec.direction):
        flows -= flows_of_policy(held.spec)
    if flows > MAX_FLOWS_OF_NETWORK:
        network = object_id(Kind.NETWORK, spec.network)
        what = f"with it, {spec.direction} policies of {network} are {flows} flows"
        reason = f"{what}: want at most {MAX_FLOWS_OF_NETWORK}"
        raise Conflict("policy-too-large", reason, holder=network)


def _check_chain(intent: Intent, name: str, spec: OptionPolicySpec) -> None:
    steer = steer_of(spec)
    for port in () if steer is None else steer.ports:
        other = intent.chain_through(port)
        if other is not None and other != name:
            holder = object_id(Kind.OPTION_POLICY, other)
            reason = f"what port {port} sends on is of the chain of {holder}: a port is in one chain"
            raise Conflict("chain-port-taken", reason, pointer="/actions", holder=holder)


def _check_alone(intent: Intent, name: str, spec: OptionPolicySpec) -> None:
    other = intent.policy_by_condition(spec)
    if other is None or other == name:
        _check_shares_no_flow(intent, name, spec)
        return
    holder = intent.option_policies[other]
    same = (holder.spec.action, holder.spec.actions) == (spec.action, spec.actions)
    says = "something else" if holder.spec.action is None else str(holder.spec.action)
    raise Conflict(
        "policy-duplicate" if same else "policy-contradicts",
        f"{holder.id} says {says} for the same packets at priority {spec.priority}",
        pointer="" if same else "/action",
        holder=holder.id,
    )


def _check_shares_no_flow(intent: Intent, name: str, spec: OptionPolicySpec) -> None:
    others = sorted(intent.policies_deciding(spec) - {name})
    if others:
        holder = object_id(Kind.OPTION_POLICY, others[0])
        reason = f"{holder} decides some of the very same packets at priority {spec.priority}: give them different ones"
        raise Conflict("policy-contradicts", reason, pointer="/priority", holder=holder)
