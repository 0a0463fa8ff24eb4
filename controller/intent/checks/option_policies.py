# SPDX-License-Identifier: Apache-2.0
"""The rules for option policies."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import field_of, pointer
from controller.intent.intent import Intent
from controller.intent.model import NetworkSpec, Object, OptionMatch, OptionPolicySpec

MAX_PRIORITY = 10_000


def settle(intent: Intent, name: str, spec: OptionPolicySpec) -> OptionPolicySpec:
    """Check a policy against its network, and that no other one decides the same packets at its priority."""
    if not 0 <= spec.priority <= MAX_PRIORITY:
        raise Invalid(
            "priority-out-of-range", f"{spec.priority}: want 0 to {MAX_PRIORITY}", pointer="/priority"
        )
    network = intent.networks.get(spec.network)
    if network is None:
        raise Invalid("network-unknown", f"there is no network {spec.network}", pointer="/network")
    if spec.to_port is not None:
        _check_port(intent, spec.network, spec.to_port)
    settled = replace(spec, match=_settle_match(intent, network, spec.match))
    _check_alone(intent, name, settled)
    return settled


def _check_port(intent: Intent, network: str, name: str) -> None:
    port = intent.ports.get(name)
    at = "/to/port"
    if port is None:
        raise Invalid("port-unknown", f"there is no port {name}", pointer=at)
    if port.spec.network != network:
        raise Invalid(
            "port-elsewhere", f"port {name} is in network {port.spec.network}", pointer=at, holder=port.id
        )


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
    same = holder.spec.action is spec.action
    raise Conflict(
        "policy-duplicate" if same else "policy-contradicts",
        f"{holder.id} says {holder.spec.action} for the same packets at priority {spec.priority}",
        pointer="" if same else "/action",
        holder=holder.id,
    )
