# SPDX-License-Identifier: Apache-2.0
"""Whether a rule's match and actions make sense: on packets as such, and on a network's options."""

from __future__ import annotations

from typing import assert_never

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import field_of, pointer
from controller.intent.checks.policies import check_ports
from controller.intent.conditions import ETHERTYPE, IPV4, IPV6, ethertypes_of, needs_ip, steer_of
from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    InnerVlan,
    Kind,
    NetworkSpec,
    Object,
    OptionDirection,
    OptionPolicySpec,
    OptionValue,
    PolicyAction,
    direct_vni,
    object_id,
)
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)

MAX_DSCP = 63
MAX_QUEUE = 0xFFFFFFFE

_MAX_MAC = (1 << 48) - 1
_MAC_GROUP_BIT = 1 << 40

MAX_CHAIN = 16
"Ports of one service chain."

_SOURCE_BITS = {PacketField.DSCP: 6, PacketField.VLAN: 12, PacketField.SOURCE_PORT_KEY: 22}
"How wide what a packet says is."


def check_packet(match: PacketMatch) -> None:
    """Refuse conditions that no packet meets, or that no header has."""
    for name, value, most in (
        ("ethertype", match.ethertype, 0xFFFF),
        ("protocol", match.protocol, 0xFF),
        ("dscp", match.dscp, MAX_DSCP),
        ("source_mac", match.source_mac, _MAX_MAC),
        ("destination_mac", match.destination_mac, _MAX_MAC),
    ):
        if value is not None and not 0 <= value <= most:
            raise Invalid("match-out-of-range", f"{value}: want 0 to {most}", pointer=pointer("match", name))
    _check_family(match)
    for name, ports in (
        ("source_ports", match.source_ports),
        ("destination_ports", match.destination_ports),
    ):
        check_ports(match.protocol, ports, pointer("match", name))


def _check_family(match: PacketMatch) -> None:
    said = match.ethertype
    for name, prefix in (("source", match.source), ("destination", match.destination)):
        if prefix is None:
            continue
        wanted = ETHERTYPE[prefix.version]
        if said is not None and said != wanted:
            reason = f"{prefix} is IPv{prefix.version}, the rest of the match is not"
            raise Invalid("match-contradicts", reason, pointer=pointer("match", name))
        said = wanted
    needs_ip = match.protocol is not None or match.dscp is not None
    if needs_ip and said not in (None, IPV4, IPV6):
        at = pointer("match", "protocol" if match.protocol is not None else "dscp")
        raise Invalid("match-contradicts", f"Ethernet type {said:#06x} is not IP", pointer=at)


def check_actions(intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec) -> None:
    """Refuse actions on what the network's packets do not carry, or that cannot be done where the policy is."""
    for position, action in enumerate(spec.actions):
        _check_action(intent, network, spec, action, pointer("actions", position))
    if needs_ip(spec) and not {IPV4, IPV6}.issuperset(ethertypes_of(spec)):
        reason = f"Ethernet type {spec.packet.ethertype:#06x} has no DSCP"
        raise Invalid("actions-contradict", reason, pointer="/match/ethertype")
    if steer_of(spec) is not None:
        _check_detour(spec)


def _check_detour(spec: OptionPolicySpec) -> None:
    if spec.action is PolicyAction.DROP:
        raise Invalid("actions-contradict", "what is steered is not dropped", pointer="/action")
    if spec.direction is not Direction.EGRESS:
        reason = "packets are steered where they are sent: want direction egress, and `to` for where they go"
        raise Invalid("steer-ingress-unsupported", reason, pointer="/direction")
    if sum(isinstance(action, Steer) for action in spec.actions) > 1:
        raise Invalid(
            "actions-contradict", "a packet goes one way: one steer, of several ports", pointer="/actions"
        )
    if spec.packet.destination_mac is not None and spec.packet.destination_mac & _MAC_GROUP_BIT:
        reason = "packets to many are not steered: they would come back to their sender"
        raise Invalid("actions-contradict", reason, pointer="/match/destination_mac")


def _check_action(
    intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec, action: RuleAction, at: str
) -> None:
    match action:
        case Stamp(to=to, value=value):
            bits = _check_writable(intent, network, spec, to, at + "/stamp")
            if not 0 <= value < 1 << bits:
                raise Invalid(
                    "value-out-of-range", f"{value}: want 0 to {(1 << bits) - 1:#x}", pointer=at + "/stamp"
                )
        case StampFrom(to=to, source=source):
            _check_stamp_from(intent, network, spec, to, source, at + "/stamp_from")
        case Copy(to=to, source=source_field):
            bits = _bits(intent, network, source_field, at + "/copy")
            _check_wide_enough(intent, network, spec, to, bits, at + "/copy")
        case Strip(schema=schema):
            _check_carried(network, schema, at + "/strip")
        case Mirror(port=port):
            _check_target(intent, network, port, at + "/mirror")
        case Steer():
            _check_steer(intent, network, spec, action, at + "/steer")
        case SetQueue(queue=queue):
            if not 0 <= queue <= MAX_QUEUE:
                raise Invalid("queue-out-of-range", f"{queue}: want 0 to {MAX_QUEUE}", pointer=at + "/queue")
        case SetDscp(dscp=dscp):
            if not 0 <= dscp <= MAX_DSCP:
                raise Invalid("dscp-out-of-range", f"{dscp}: want 0 to {MAX_DSCP}", pointer=at + "/dscp")
        case _:
            assert_never(action)


def _check_stamp_from(
    intent: Intent,
    network: Object[NetworkSpec],
    spec: OptionPolicySpec,
    to: FieldName,
    source: PacketField,
    at: str,
) -> None:
    if source is not PacketField.DSCP and spec.direction is not Direction.EGRESS:
        reason = f"{source} is known where a packet enters the overlay: want direction egress"
        raise Invalid("stamp-from-unknown", reason, pointer=at)
    if source is PacketField.VLAN and network.spec.inner_vlan is not InnerVlan.STRIP:
        reason = f'network {network.name} takes no tagged frames: want "inner_vlan": "strip"'
        raise Invalid("vlan-forbidden", reason, pointer=at, holder=network.id)
    _check_wide_enough(intent, network, spec, to, _SOURCE_BITS[source], at)


def _check_steer(
    intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec, action: Steer, at: str
) -> None:
    if not 1 <= len(action.ports) <= MAX_CHAIN:
        raise Invalid(
            "chain-invalid", f"{len(action.ports)} ports: want 1 to {MAX_CHAIN}", pointer=at + "/ports"
        )
    for index, port in enumerate(action.ports):
        _check_target(intent, network, port, at + pointer("ports", index))
        if port in action.ports[:index]:
            raise Invalid(
                "chain-invalid", f"port {port} is there twice", pointer=at + pointer("ports", index)
            )
    if action.position is None:
        if len(action.ports) > 1:
            reason = "a chain of ports needs a field of an option that keeps the position"
            raise Invalid("chain-without-position", reason, pointer=at + "/position")
        return
    bits = len(action.ports).bit_length()
    _check_wide_enough(intent, network, spec, action.position, bits, at + "/position")


def _check_wide_enough(
    intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec, to: FieldName, bits: int, at: str
) -> None:
    width = _check_writable(intent, network, spec, to, at)
    if width < bits:
        raise Invalid("field-too-narrow", f"{to} has {width} bits: want {bits}", pointer=at)


def _check_writable(
    intent: Intent, network: Object[NetworkSpec], spec: OptionPolicySpec, to: FieldName, at: str
) -> int:
    if to.schema == IDENTITY:
        reason = f"{IDENTITY} says the group of the sender: no policy writes it"
        raise Invalid("option-reserved", reason, pointer=at)
    bits = _bits(intent, network, to, at)
    received = intent.option_schemas[to.schema].spec.direction is OptionDirection.RECEIVE
    if received and spec.direction is Direction.EGRESS:
        reason = f"{to.schema} comes from others: nothing of ours sends it"
        raise Invalid("option-receive-only", reason, pointer=at)
    return bits


def _bits(intent: Intent, network: Object[NetworkSpec], name: FieldName, at: str) -> int:
    said = OptionValue(schema=name.schema, field=name.field, value=0)
    return field_of(intent, network.name, network.spec.options, said, at=at).bits


def _check_carried(network: Object[NetworkSpec], schema: str, at: str) -> None:
    if schema not in network.spec.options or schema == IDENTITY:
        why = (
            "it says the group of the sender"
            if schema == IDENTITY
            else f"network {network.name} does not carry it"
        )
        code = "option-reserved" if schema == IDENTITY else "option-not-on-network"
        raise Invalid(code, f"option {schema}: {why}", pointer=at, holder=network.id)


def _check_target(intent: Intent, network: Object[NetworkSpec], name: str, at: str) -> None:
    port = intent.ports.get(name)
    if port is None:
        raise Invalid("port-unknown", f"there is no port {name}", pointer=at)
    if port.spec.network != network.name:
        reason = f"port {name} is in network {port.spec.network}"
        raise Invalid("port-elsewhere", reason, pointer=at, holder=port.id)
    vni = direct_vni(port.key)
    other = intent.network_by_vni(vni)
    if other is not None:
        # Of a store older than direct delivery: its packets and those to the port could not be told apart.
        holder = object_id(Kind.NETWORK, other)
        reason = (
            f"port {name} would be reached under VNI {vni}, which {holder} has: give that network another VNI"
        )
        raise Conflict("direct-vni-taken", reason, pointer=at, holder=holder)
