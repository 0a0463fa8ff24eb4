# SPDX-License-Identifier: Apache-2.0
"""The rules for hosts behind an AWS-style gateway load balancer."""

from __future__ import annotations

from controller.errors import Conflict, Invalid
from controller.intent.checks.abilities import check_may_be_target
from controller.intent.checks.documents import check_distinct, check_none, check_unicast, pointer
from controller.intent.intent import Intent
from controller.intent.model import Kind, NetworkSpec, TargetSpec, object_id

PROFILE = "aws-gwlb"

GWLB_CLASS = 0x0108

GWLB_TYPES = {1: "endpoint", 2: "attachment", 3: "flow cookie"}
"The options by which the load balancer knows a packet that comes back, by type."


def check_target(intent: Intent, name: str, spec: NetworkSpec) -> None:
    """Refuse a target that lacks an option of the load balancer, or that something else stands in the way of."""
    target = spec.target
    if target is None:
        return
    at = "/target"
    ports = [object_id(Kind.PORT, port) for port in intent.ports_of(name)]
    check_none(ports, f"network {name}", at)
    _check_options(intent, spec)
    _check_gateways(intent, target)
    check_distinct(target.hosts, "host-duplicate", at + "/hosts")
    for position, host in enumerate(target.hosts):
        where = at + pointer("hosts", position)
        if host not in intent.hosts:
            raise Invalid("host-unknown", f"there is no host {host}", pointer=where)
        check_may_be_target(intent, host, where)
    if not target.hosts or not target.gateways:
        raise Invalid("target-empty", "a target needs a gateway and a host", pointer=at)


def check_no_target(intent: Intent, network: str) -> None:
    """Refuse a port in a network that is a target."""
    held = intent.networks[network]
    if held.spec.target is not None:
        reason = f"{held.id} is a target of a gateway load balancer: it has no ports"
        raise Conflict("network-is-target", reason, pointer="/network", holder=held.id)


def slots_in_order(intent: Intent, spec: NetworkSpec) -> tuple[int, ...]:
    """Return the slots of the load balancer's options, by type; those that the network lacks are left out."""
    held = (intent.option_schemas[option].spec for option in spec.options)
    theirs: dict[int, int] = {
        one.layout.option_type: one.slot
        for one in held
        if one.layout.option_class == GWLB_CLASS and one.slot is not None
    }
    return tuple(theirs[kind] for kind in GWLB_TYPES if kind in theirs)


def _check_options(intent: Intent, spec: NetworkSpec) -> None:
    slots = slots_in_order(intent, spec)
    if len(slots) < len(GWLB_TYPES) or len(spec.options) > len(GWLB_TYPES):
        wanted = ", ".join(f"{kind} ({what})" for kind, what in GWLB_TYPES.items())
        reason = f"a target carries the options of class {GWLB_CLASS:#06x}, types {wanted}, and no other"
        raise Invalid("target-options", reason, pointer="/options")
    if list(slots) != sorted(slots):
        # OVS writes options in the order of slots (lib/tun-metadata.c), the load balancer in that of their types.
        reason = f"their slots are {slots}: declare the schemas in the order of their types"
        raise Conflict("target-options", reason, pointer="/options")


def _check_gateways(intent: Intent, target: TargetSpec) -> None:
    check_distinct(target.gateways, "gateway-duplicate", "/target/gateways")
    for position, address in enumerate(target.gateways):
        at = pointer("target", "gateways", position)
        check_unicast(address, at)
        holder = intent.host_by_endpoint(address)
        if holder is not None:
            by = object_id(Kind.HOST, holder)
            raise Conflict("endpoint-taken", f"{address} is a tunnel endpoint of {by}", pointer=at, holder=by)
