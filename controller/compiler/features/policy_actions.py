# SPDX-License-Identifier: Apache-2.0
"""What a policy does with a packet, as actions of a switch.

OVS moves bits of tun_metadata as of any field, counted from the least significant bit of the option at its mapped
length (lib/meta-flow.c: mf_subfield_copy).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from controller.compiler.pipeline import Table
from controller.compiler.policy_views import Bits, PolicyView
from controller.compiler.registers import DESTINATION_PORT, INNER_VLAN, MARKS, SOURCE_PORT, ZERO, Mark
from controller.intent.model import Direction
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)
from ovs_geneve.openflow import actions
from ovs_geneve.openflow.actions import Action, Clone, DeleteField, Move, Resubmit, SetField
from ovs_geneve.openflow.fields import (
    IN_PORT,
    IP_DSCP,
    TUN_DST,
    TUN_IPV6_DST,
)

_SAID = {
    PacketField.DSCP: Bits(IP_DSCP, 0, 6),
    PacketField.VLAN: Bits(INNER_VLAN, 0, 12),
    PacketField.SOURCE_PORT_KEY: Bits(SOURCE_PORT, 0, 22),
}
"Where a packet says it."


def actions_of(policy: PolicyView, *, steers: bool) -> tuple[Action, ...]:
    """Return what a policy does, in its order; without `steers`, packets take no detour."""
    return tuple(
        done
        for action in policy.actions
        if steers or not isinstance(action, Steer)
        for done in _done(policy, action)
    )


def to_port_directly(key: int) -> tuple[Action, ...]:
    """Return what has a packet go to a port whatever its MACs say, once it comes to FORWARD or DIRECT."""
    return SetField(DESTINATION_PORT, key), SetField(MARKS, Mark.DIRECT, Mark.DIRECT)


def _done(policy: PolicyView, action: RuleAction) -> Iterator[Action]:
    match action:
        case Stamp() | StampFrom() | Copy():
            yield from _written(policy.fields, action)
        case Strip(schema=schema):
            if schema in policy.options:
                yield DeleteField(policy.options[schema])
        case Mirror(port=port):
            yield _mirrored(policy, policy.keys[port])
        case Steer():
            yield from _steered(policy, action)
        case SetQueue(queue=queue):
            yield actions.SetQueue(queue)
        case SetDscp(dscp=dscp):
            yield SetField(IP_DSCP, dscp)
        case _:
            assert_never(action)


def _written(fields: Mapping[FieldName, Bits], action: Stamp | StampFrom | Copy) -> Iterator[Action]:
    to = fields.get(action.to)
    if to is None:
        return
    match action:
        case Stamp(value=value):
            yield SetField(*to.placed(value))
        case StampFrom(source=said):
            yield from _copied(_SAID[said], to)
        case Copy(source=name):
            if name in fields:
                yield from _copied(fields[name], to)


def _copied(source: Bits, to: Bits) -> Iterator[Action]:
    yield Move(source.field, to.field, source.bits, source.offset, to.offset)
    above = to.bits - source.bits
    if above > 0:
        yield SetField(*Bits(to.field, to.offset + source.bits, above).placed(0))


def _mirrored(policy: PolicyView, key: int) -> Action:
    arrived: tuple[Action, ...] = ()
    if policy.direction is Direction.INGRESS:
        # A switch sends nothing back to where it came from. Of the addresses that it came with, OVS puts its own in the
        # place of the source (ofproto/tunnel.c, tnl_port_send), and sends to the IPv4 one of two destinations.
        arrived = Move(ZERO, IN_PORT, IN_PORT.bits), SetField(TUN_DST, 0), SetField(TUN_IPV6_DST, 0)
    return Clone((*arrived, SetField(DESTINATION_PORT, key), Resubmit(Table.DIRECT)))


def _steered(policy: PolicyView, steer: Steer) -> Iterator[Action]:
    if steer.position is not None and steer.position in policy.fields:
        yield SetField(*policy.fields[steer.position].placed(1))
    yield from to_port_directly(policy.keys[steer.ports[0]])
