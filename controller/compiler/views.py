# SPDX-License-Identifier: Apache-2.0
"""What features see: an object with its references followed and its values as the numbers that flows carry.

A view holds no name that a flow does not need, so that two hosts that need the same flows get equal views.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from controller.intent.companions import tlv_map_of
from controller.intent.identity import GROUP_FIELD, IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import (
    Address,
    InnerVlan,
    NetworkSpec,
    Object,
    OptionDirection,
    OptionSchemaSpec,
    OptionValue,
    PortSpec,
    link_local,
)
from ovs_geneve.openflow.fields import Field, tun_metadata
from ovs_geneve.openflow.tlv_table import TlvMap


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """A virtual network."""

    key: int
    vni: int
    options: tuple[Object[OptionSchemaSpec], ...]
    "What its packets may carry, in slot order, which is the order on the wire."
    stamped: tuple[Object[OptionSchemaSpec], ...]
    "Those of them that ports put on every packet."
    arriving: tuple[Object[OptionSchemaSpec], ...]
    "Those of them that not every host may stamp yet."
    values: tuple[OptionValue, ...]
    salt: bytes
    "What the options' slots stand for: flows that use a slot change when its meaning does."
    strips_vlan: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A logical port."""

    key: int
    vni: int
    mac: int
    ipv4: tuple[int, ...]
    ipv6: tuple[int, ...]
    stamps: tuple[tuple[Field, int], ...]
    "Every option of the network with the value this port's packets carry, in slot order."
    salt: bytes
    group: int = 0
    "Identity of its group; 0 without one."
    strips_vlan: bool = False
    "Whether what it sends may be tagged."


def network_view(intent: Intent, network: Object[NetworkSpec]) -> NetworkView:
    """Resolve a network."""
    rollouts = [intent.rollouts[name].spec for name in intent.rollouts_of(network.name)]
    coming = {one.schema for one in rollouts if one.incoming}
    withheld = {one.schema for one in rollouts if one.is_withheld}
    leaving = {one.schema for one in rollouts if one.is_lingering}
    schemas = sorted((intent.option_schemas[name] for name in {*network.spec.options, *leaving}), key=slot_of)
    unsent = withheld | leaving
    return NetworkView(
        key=network.key,
        vni=network.spec.vni or 0,
        options=tuple(schemas),
        stamped=tuple(one for one in schemas if one.name not in unsent and _is_sent(one)),
        arriving=tuple(one for one in schemas if one.name in coming),
        values=network.spec.values,
        salt=slots_salt(schemas),
        strips_vlan=network.spec.inner_vlan is InnerVlan.STRIP,
    )


def port_view(intent: Intent, port: Object[PortSpec], network: NetworkView) -> PortView:
    """Resolve a port of a network."""
    values = {(v.schema, v.field): v.value for v in (*network.values, *port.spec.values)}
    group = values[IDENTITY, GROUP_FIELD] = group_of(intent, port.spec)
    addresses = port.spec.addresses
    return PortView(
        key=port.key,
        vni=network.vni,
        mac=port.spec.mac,
        ipv4=tuple([int(a) for a in addresses if isinstance(a, IPv4Address)]),
        ipv6=_with_link_local(port.spec.mac, addresses),
        stamps=tuple([_stamp(schema, values) for schema in network.stamped]),
        salt=network.salt,
        group=group,
        strips_vlan=network.strips_vlan,
    )


def tlv_map(intent: Intent) -> frozenset[TlvMap]:
    """Return the TLV map that every bridge has: a slot for each declared option."""
    return frozenset(tlv_map_of(schema.spec) for schema in intent.option_schemas.values())


def resting_map(intent: Intent) -> frozenset[TlvMap]:
    """Return what every bridge had mapped and is to let go: slots that rest."""
    return frozenset(held.spec.tlv_map for held in intent.retired_slots.values())


def group_of(intent: Intent, port: PortSpec) -> int:
    """Return the identity of a port's group; 0 without one."""
    return 0 if port.group is None else identity_of(intent, port.group)


def identity_of(intent: Intent, group: str) -> int:
    """Return the number that stands for a group on the wire."""
    identity = intent.groups[group].spec.identity
    assert identity is not None, "the allocator gave every stored group its identity"
    return identity


def _is_sent(schema: Object[OptionSchemaSpec]) -> bool:
    return schema.spec.direction is not OptionDirection.RECEIVE


def slot_of(schema: Object[OptionSchemaSpec]) -> int:
    """Return the tun_metadata index of a stored schema."""
    assert schema.spec.slot is not None, "the allocator gave every stored schema its slot"
    return schema.spec.slot


def option_field(schema: Object[OptionSchemaSpec]) -> Field:
    """Return the field that carries an option's data on every bridge."""
    return tun_metadata(slot_of(schema), schema.spec.layout.length)


def slots_salt(schemas: Iterable[Object[OptionSchemaSpec]]) -> bytes:
    """Return what options' slots stand for: the salt of flows that use them."""
    return b"".join(b"%d=%d/%d/%d;" % (slot_of(one), *_layout_triple(one.spec)) for one in schemas)


def _layout_triple(spec: OptionSchemaSpec) -> tuple[int, int, int]:
    return spec.layout.option_class, spec.layout.option_type, spec.layout.length


def _stamp(schema: Object[OptionSchemaSpec], values: Mapping[tuple[str, str], int]) -> tuple[Field, int]:
    bits = 0
    for field in schema.spec.layout.fields:
        value, _ = schema.spec.layout.match_bits(field.name, values.get((schema.name, field.name), 0), None)
        bits |= value
    return option_field(schema), bits


def _with_link_local(mac: int, addresses: tuple[Address, ...]) -> tuple[int, ...]:
    """Add the address that IPv6 needs for neighbour discovery."""
    declared = tuple([int(a) for a in addresses if isinstance(a, IPv6Address)])
    if not declared:
        return ()
    own = int(link_local(mac))
    return declared if own in declared else (*declared, own)
