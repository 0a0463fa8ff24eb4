# SPDX-License-Identifier: Apache-2.0
"""The rules for policies between groups."""

from __future__ import annotations

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import pointer
from controller.intent.checks.groups import check_group
from controller.intent.intent import Intent
from controller.intent.model import Kind, PolicySpec, object_id
from controller.intent.policy_size import MAX_NETWORK_FLOWS, MAX_POLICY_FLOWS, flows_of
from controller.intent.rules import PortRange

MAX_PRIORITY = 10_000

WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
"Protocols whose headers have ports, by IANA's number."


def settle(intent: Intent, name: str, spec: PolicySpec) -> PolicySpec:
    """Check a policy against its network and groups, and that no other one decides the same packets."""
    check_priority(spec.priority)
    network = intent.networks.get(spec.network)
    if network is None:
        raise Invalid("network-unknown", f"there is no network {spec.network}", pointer="/network")
    check_group(intent, network, spec.to_group, "/to/group")
    if spec.from_group is not None:
        check_group(intent, network, spec.from_group, "/from/group")
    if spec.protocol is not None and not 0 <= spec.protocol <= 255:
        raise Invalid("protocol-out-of-range", f"{spec.protocol}: want 0 to 255", pointer="/protocol")
    check_ports(spec.protocol, spec.ports, "/ports")
    if spec.stateful and not spec.allow:
        raise Invalid("stateful-without-allow", "what is denied has no replies", pointer="/stateful")
    _check_alone(intent, name, spec)
    _check_apart(intent, name, spec)
    _check_size(intent, name, spec)
    return spec


def check_priority(priority: int) -> None:
    """Refuse a priority that no policy has."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise Invalid("priority-out-of-range", f"{priority}: want 0 to {MAX_PRIORITY}", pointer="/priority")


def check_ports(protocol: int | None, ports: tuple[PortRange, ...], at: str) -> None:
    """Refuse ports that are none, that overlap, or that the protocol has not."""
    if ports and protocol not in WITH_PORTS:
        names = ", ".join(WITH_PORTS.values())
        raise Invalid("ports-without-protocol", f"only {names} have ports: say which", pointer=at)
    for position, (first, last) in enumerate(ports):
        where = at + pointer(position)
        if not 0 <= first <= last <= 0xFFFF:
            raise Invalid("port-out-of-range", f"{first}-{last}: want 0 to 65535, upwards", pointer=where)
        for other in ports[:position]:
            if first <= other.last and other.first <= last:
                reason = f"{first}-{last} overlaps {other.first}-{other.last}"
                raise Invalid("ports-overlap", reason, pointer=where)


_ALL_PORTS = (PortRange(0, 0xFFFF),)


def _check_apart(intent: Intent, name: str, spec: PolicySpec) -> None:
    """Refuse to say the same of a port twice at one priority: the two would be one flow."""
    what = _what(spec)
    for other in intent.policies_to_group(spec.network, spec.to_group):
        held = intent.policies[other]
        if other == name or _what(held.spec) != what:
            continue
        if any(_meet(one, two) for one in spec.ports or _ALL_PORTS for two in held.spec.ports or _ALL_PORTS):
            verdict = "allows" if spec.allow else "denies"
            reason = (
                f"{held.id} {verdict} some of these ports for the same packets at priority {spec.priority}"
            )
            raise Conflict("policy-overlaps", reason, pointer="/ports", holder=held.id)


def _what(spec: PolicySpec) -> tuple[object, ...]:
    """Return what two policies to a group have in common when they say the same, ports apart."""
    return spec.from_group, spec.priority, spec.protocol, spec.allow


def _meet(one: PortRange, two: PortRange) -> bool:
    return one.first <= two.last and two.first <= one.last


def _check_size(intent: Intent, name: str, spec: PolicySpec) -> None:
    flows = flows_of(spec)
    if flows > MAX_POLICY_FLOWS:
        reason = f"it comes to {flows} flows: want at most {MAX_POLICY_FLOWS}; fewer or wider ranges of ports"
        raise Conflict("policy-too-large", reason, pointer="/ports")
    held = intent.policies.get(name)
    before = flows_of(held.spec) if held is not None and held.spec.network == spec.network else 0
    total = intent.flows_between(spec.network) - before + flows
    if total > MAX_NETWORK_FLOWS:
        reason = f"with it policies come to {total} flows in network {spec.network}: want at most {MAX_NETWORK_FLOWS}"
        raise Conflict("policy-too-large", reason, holder=object_id(Kind.NETWORK, spec.network))


def _check_alone(intent: Intent, name: str, spec: PolicySpec) -> None:
    other = intent.policy_between(spec)
    if other is None or other == name:
        return
    holder = intent.policies[other]
    same = holder.spec.allow is spec.allow
    raise Conflict(
        "policy-duplicate" if same else "policy-contradicts",
        f"{holder.id} says {'allow' if holder.spec.allow else 'deny'} for the same packets at priority {spec.priority}",
        pointer="" if same else "/action",
        holder=holder.id,
    )
