# SPDX-License-Identifier: Apache-2.0
"""The rules for virtual networks."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.allocate import MAX_VNI, free_vni
from controller.intent.checks.capabilities import check_parsable
from controller.intent.checks.documents import (
    check_distinct,
    check_free,
    check_none,
    pointer,
    settle_values,
)
from controller.intent.checks.mtu import check_network
from controller.intent.checks.targets import check_target
from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import InnerVlan, Kind, NetworkSpec, Object, Payload, object_id
from ovs_geneve.geneve.header import MAX_OPTIONS_LENGTH
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.values import Vni


def settle(intent: Intent, name: str, spec: NetworkSpec) -> NetworkSpec:
    """Check a network and give it a VNI: the one it asks for, the one it has, or a free one."""
    held = intent.networks.get(name)
    vni = spec.vni
    if vni is None:
        vni = held.spec.vni if held is not None else free_vni(intent)
    _check_vni(intent, name, vni)
    _check_payload(held, spec)
    _check_options(intent, spec.options, () if held is None else held.spec.options)
    if held is not None:
        _check_options_removed(intent, name, held.spec.options, spec.options)
    check_network(intent, name, spec)
    check_target(intent, name, spec)
    values = settle_values(intent, name, spec.options, spec.values, "/values")
    return replace(spec, vni=vni, values=values)


def check_unused(intent: Intent, name: str) -> None:
    """Refuse to let go a network that has ports or policies."""
    ports = [object_id(Kind.PORT, port) for port in intent.ports_of(name)]
    policies = [object_id(Kind.OPTION_POLICY, policy) for policy in intent.policies_of(name)]
    policies += [object_id(Kind.POLICY, policy) for policy in intent.policies_between(name)]
    check_none(ports or policies, f"network {name}")


def _check_payload(held: Object[NetworkSpec] | None, spec: NetworkSpec) -> None:
    if held is not None and held.spec.payload is not spec.payload:
        reason = f"payload is {held.spec.payload} and stays so: its ports were made for that; declare another network"
        raise Conflict("immutable", reason, pointer="/payload", holder=held.id)
    if spec.payload is not Payload.IP:
        return
    for what, at, is_set in (
        ("options", "/options/0", bool(spec.options)),
        ("VLAN tags", "/inner_vlan", spec.inner_vlan is not InnerVlan.FORBID),
        ("target", "/target", spec.target is not None),
    ):
        if is_set:
            reason = f"a network of IP has no {what}: its packets are IP in GENEVE, as they are"
            raise Invalid("payload-cannot", reason, pointer=at)


def _check_vni(intent: Intent, name: str, vni: Vni | None) -> None:
    held = intent.networks.get(name)
    stays = held is not None and held.spec.vni == vni
    if vni is None or not (stays or 1 <= vni <= MAX_VNI):
        # 0 is what packets of no network have: OVS sends it where a flow sets no tun_id.
        raise Invalid("vni-out-of-range", f"{vni}: want 1 to {MAX_VNI}", pointer="/vni")
    holder = intent.network_by_vni(vni)
    check_free(holder, Kind.NETWORK, name, code="vni-taken", what=f"VNI {vni}", at="/vni")
    if held is not None and held.spec.vni != vni and intent.ports_of(name):
        port = object_id(Kind.PORT, min(intent.ports_of(name)))
        raise Conflict(
            "vni-in-use", f"VNI {held.spec.vni} carries packets of {port}", pointer="/vni", holder=port
        )


def _check_options(intent: Intent, options: tuple[str, ...], before: tuple[str, ...]) -> None:
    check_distinct(options, "option-duplicate", "/options")
    used = 0
    for position, schema in enumerate(options):
        at = pointer("options", position)
        held = intent.option_schemas.get(schema)
        if held is None:
            raise Invalid("option-schema-unknown", f"there is no option schema {schema}", pointer=at)
        if schema not in before:
            check_parsable(intent, held, at)
        used += OPTION_HEADER_LENGTH + held.spec.layout.length
        if used > MAX_OPTIONS_LENGTH:
            raise Conflict(
                "options-too-long",
                f"with {schema} options take {used} bytes: a GENEVE header has room for {MAX_OPTIONS_LENGTH}",
                pointer=at,
                holder=held.id,
            )


def _check_options_removed(
    intent: Intent, name: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    own = object_id(Kind.NETWORK, name)
    for schema in before:
        if schema in after:
            continue
        for field in intent.option_schemas[schema].spec.layout.fields:
            users = [user for user in intent.users_of_field(name, schema, field.name) if user != own]
            check_none(users, f"field {schema}.{field.name}", "/options")
        check_none(intent.users_of_option(name, schema), f"option {schema}", "/options")
        if schema == IDENTITY:
            policies = [object_id(Kind.POLICY, policy) for policy in intent.policies_between(name)]
            grouped = [
                object_id(Kind.PORT, port) for port in intent.ports_of(name) if intent.ports[port].spec.group
            ]
            check_none(policies or grouped, f"option {schema}", "/options")
