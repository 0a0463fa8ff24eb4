# SPDX-License-Identifier: Apache-2.0
"""The rules for option policies."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import field_of, pointer
from controller.intent.checks.groups import check_group
from controller.intent.checks.policies import check_priority
from controller.intent.checks.rules import check_actions, check_packet
from controller.intent.intent import Intent
from controller.intent.model import NetworkSpec, Object, OptionDirection, OptionMatch, OptionPolicySpec


def settle(intent: Intent, name: str, spec: OptionPolicySpec) -> OptionPolicySpec:
    """Check a policy against its network, and that no other one decides the same packets at its priority."""
    check_priority(spec.priority)
    network = intent.networks.get(spec.network)
    if network is None:
        raise Invalid("network-unknown", f"there is no network {spec.network}", pointer="/network")
    _check_selectors(intent, network, spec)
    check_packet(spec.packet)
    check_actions(intent, network, spec)
    settled = replace(spec, match=_settle_match(intent, network, spec.match))
    _check_alone(intent, name, settled)
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


def _settle_match(
    intent: Intent, network: Object[NetworkSpec], matches: tuple[OptionMatch, ...]
) -> tuple[OptionMatch, ...]:
    settled = dict[str, OptionMatch]()
    for match in matches:
        selector = f"{match.schema}.{match.field}"
        at = pointer("match", "option", selector)
        options = network.spec.options
        bits = field_of(intent, network.name, options, match, at=at).bits
        _check_bits(match, bits, at)
        if intent.option_schemas[match.schema].spec.direction is OptionDirection.SEND:
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


def _check_alone(intent: Intent, name: str, spec: OptionPolicySpec) -> None:
    other = intent.policy_by_condition(spec)
    if other is None or other == name:
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
