# SPDX-License-Identifier: Apache-2.0
"""The rules for groups of ports."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.allocate import free_identity
from controller.intent.checks.documents import check_free, check_none
from controller.intent.identity import IDENTITY, MAX_IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import GroupSpec, Kind, NetworkSpec, Object, Payload, object_id


def settle(intent: Intent, name: str, spec: GroupSpec) -> GroupSpec:
    """Check a group and give it an identity: the one it asks for, the one it has, or a free one."""
    held = intent.groups.get(name)
    identity = spec.identity
    if identity is None:
        identity = held.spec.identity if held is not None else free_identity(intent)
    if identity is None or not 1 <= identity <= MAX_IDENTITY:
        # 0 is what packets of ports without a group carry.
        raise Invalid("identity-out-of-range", f"{identity}: want 1 to {MAX_IDENTITY}", pointer="/identity")
    holder = intent.group_by_identity(identity)
    what = f"identity {identity}"
    check_free(holder, Kind.GROUP, name, code="identity-taken", what=what, at="/identity")
    if held is not None and held.spec.identity != identity and intent.members_of(name):
        port = object_id(Kind.PORT, min(intent.members_of(name)))
        reason = f"identity {held.spec.identity} is on packets of {port}"
        raise Conflict("identity-in-use", reason, pointer="/identity", holder=port)
    return replace(spec, identity=identity)


def check_unused(intent: Intent, name: str) -> None:
    """Refuse to let go a group that has members, or that a policy names."""
    ports = [object_id(Kind.PORT, port) for port in intent.members_of(name)]
    policies = [object_id(Kind.POLICY, policy) for policy in intent.policies_of_group(name)]
    of_options = [object_id(Kind.OPTION_POLICY, policy) for policy in intent.option_policies_of_group(name)]
    check_none([*ports, *policies, *of_options], f"group {name}")


def check_group(intent: Intent, network: Object[NetworkSpec], group: str, at: str) -> None:
    """Refuse to speak of a group that is not there, or on a network whose packets do not say their sender's."""
    if group not in intent.groups:
        raise Invalid("group-unknown", f"there is no group {group}", pointer=at)
    if network.spec.payload is Payload.IP:
        reason = f"network {network.name} is one of IP: its packets carry no option, and so nobody's group"
        raise Invalid("payload-cannot", reason, pointer=at, holder=network.id)
    if IDENTITY not in network.spec.options:
        raise Invalid(
            "identity-not-on-network",
            f"network {network.name} does not carry option {IDENTITY}, which says the group of a sender: "
            f'add "{IDENTITY}" to its options',
            pointer=at,
            holder=network.id,
        )
