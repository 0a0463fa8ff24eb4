# SPDX-License-Identifier: Apache-2.0
"""Between documents of rules and specs, both ways. Pure; what is wrong is an `Invalid` with a pointer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Literal, assert_never

from msgspec import UNSET

from controller.api.option_values import (
    declared_field,
    parse_mac,
    parse_matches,
    parse_number,
    parse_option_value,
    render_mac,
    render_matches,
    render_option_value,
)
from controller.api.rule_schema import (
    ActionDocument,
    GroupDocument,
    GroupSelectorDocument,
    MatchDocument,
    OptionPolicyDocument,
    PolicyDocument,
    PortTargetDocument,
    SelectorDocument,
    SteerDocument,
)
from controller.errors import Invalid
from controller.intent.checks.documents import pointer
from controller.intent.intent import Intent
from controller.intent.model import Direction, GroupSpec, OptionPolicySpec, PolicyAction, PolicySpec
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    Prefix,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
_PROTOCOL_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_ETHERTYPES = {"ipv4": 0x0800, "arp": 0x0806, "ipv6": 0x86DD}
_ETHERTYPE_NAMES = {number: name for name, number in _ETHERTYPES.items()}


def option_policy_spec(document: OptionPolicyDocument, intent: Intent) -> OptionPolicySpec:
    """Read an option policy; values are read by the schemas of `intent`."""
    return OptionPolicySpec(
        network=document.network,
        priority=document.priority,
        direction=Direction(document.direction),
        from_port=document.from_.port,
        from_group=document.from_.group,
        to_port=document.to.port,
        to_group=document.to.group,
        match=tuple(parse_matches(document.match.option, intent)),
        packet=_packet(document.match),
        actions=tuple(_actions(document.actions, intent)),
        action=None if document.action is None else PolicyAction(document.action),
    )


def option_policy_document(
    spec: OptionPolicySpec, labels: dict[str, str], intent: Intent
) -> OptionPolicyDocument:
    """Show an option policy."""
    return OptionPolicyDocument(
        labels=labels,
        network=spec.network,
        priority=spec.priority,
        direction=spec.direction.value,
        from_=SelectorDocument(spec.from_port, spec.from_group),
        to=SelectorDocument(spec.to_port, spec.to_group),
        match=_match_document(spec, intent),
        actions=[_action_document(action, intent) for action in spec.actions],
        action=_VERDICTS[spec.action],
    )


_VERDICTS: Mapping[PolicyAction | None, Literal["allow", "drop"] | None] = {
    None: None,
    PolicyAction.ALLOW: "allow",
    PolicyAction.DROP: "drop",
}


def group_spec(document: GroupDocument) -> GroupSpec:
    """Read a group."""
    return GroupSpec(identity=document.identity)


def group_document(spec: GroupSpec, labels: dict[str, str]) -> GroupDocument:
    """Show a group."""
    return GroupDocument(labels=labels, identity=spec.identity)


def policy_spec(document: PolicyDocument) -> PolicySpec:
    """Read a policy between groups."""
    return PolicySpec(
        network=document.network,
        from_group=None if document.from_ is None else document.from_.group,
        to_group=document.to.group,
        priority=document.priority,
        protocol=_protocol(document.protocol, "/protocol"),
        ports=tuple(_ports(document.ports, "/ports")),
        allow=document.action == "allow",
        stateful=document.stateful,
        log=document.log,
    )


def policy_document(spec: PolicySpec, labels: dict[str, str]) -> PolicyDocument:
    """Show a policy between groups."""
    return PolicyDocument(
        labels=labels,
        network=spec.network,
        from_=None if spec.from_group is None else GroupSelectorDocument(spec.from_group),
        to=GroupSelectorDocument(spec.to_group),
        priority=spec.priority,
        protocol=_shown_protocol(spec.protocol),
        ports=_shown_ports(spec.ports),
        action="allow" if spec.allow else "deny",
        stateful=spec.stateful,
        log=spec.log,
    )


def _packet(match: MatchDocument) -> PacketMatch:
    return PacketMatch(
        ethertype=_ethertype(match.ethertype),
        source_mac=_mac_or_none(match.source_mac, "/match/source_mac"),
        destination_mac=_mac_or_none(match.destination_mac, "/match/destination_mac"),
        source=_prefix(match.source, "/match/source"),
        destination=_prefix(match.destination, "/match/destination"),
        protocol=_protocol(match.protocol, "/match/protocol"),
        source_ports=tuple(_ports(match.source_ports, "/match/source_ports")),
        destination_ports=tuple(_ports(match.destination_ports, "/match/destination_ports")),
        dscp=match.dscp,
    )


def _match_document(spec: OptionPolicySpec, intent: Intent) -> MatchDocument:
    packet = spec.packet
    ethertype = packet.ethertype
    return MatchDocument(
        option=dict(render_matches(spec.match, intent)),
        ethertype=None if ethertype is None else _ETHERTYPE_NAMES.get(ethertype, f"{ethertype:#06x}"),
        source_mac=None if packet.source_mac is None else render_mac(packet.source_mac),
        destination_mac=None if packet.destination_mac is None else render_mac(packet.destination_mac),
        source=None if packet.source is None else str(packet.source),
        destination=None if packet.destination is None else str(packet.destination),
        protocol=_shown_protocol(packet.protocol),
        source_ports=_shown_ports(packet.source_ports),
        destination_ports=_shown_ports(packet.destination_ports),
        dscp=packet.dscp,
    )


def _actions(documents: Iterable[ActionDocument], intent: Intent) -> Iterator[RuleAction]:
    for position, document in enumerate(documents):
        at = pointer("actions", position)
        said = [name for name in document.__struct_fields__ if getattr(document, name) is not UNSET]
        if len(said) != 1:
            names = ", ".join(said) or "nothing"
            raise Invalid("action-invalid", f"{names}: want exactly one thing to do", pointer=at)
        yield from _action(document, intent, pointer("actions", position, said[0]))


def _action(document: ActionDocument, intent: Intent, at: str) -> Iterator[RuleAction]:
    if document.stamp is not UNSET:
        for text, value in document.stamp.items():
            to = _field_name(text, at)
            yield Stamp(to, parse_option_value(intent, to.schema, to.field, value, at + pointer(text)))
    elif document.stamp_from is not UNSET:
        for text, source in document.stamp_from.items():
            yield StampFrom(_field_name(text, at), PacketField(source))
    elif document.copy is not UNSET:
        for text, source_text in document.copy.items():
            yield Copy(_field_name(text, at), _field_name(source_text, at + pointer(text)))
    elif document.strip is not UNSET:
        yield Strip(document.strip)
    elif document.mirror is not UNSET:
        yield Mirror(document.mirror.port)
    elif document.steer is not UNSET:
        position = document.steer.position
        kept = None if position is None else _field_name(position, at + "/position")
        yield Steer(tuple(document.steer.ports), kept)
    elif document.queue is not UNSET:
        yield SetQueue(document.queue)
    elif document.dscp is not UNSET:
        yield SetDscp(document.dscp)


def _action_document(action: RuleAction, intent: Intent) -> ActionDocument:
    match action:
        case Stamp(to=to, value=value):
            field = declared_field(intent, to.schema, to.field, "")
            return ActionDocument(stamp={str(to): render_option_value(field, value)})
        case StampFrom(to=to, source=source):
            return ActionDocument(stamp_from={str(to): source.value})
        case Copy(to=to, source=source_field):
            return ActionDocument(copy={str(to): str(source_field)})
        case Strip(schema=schema):
            return ActionDocument(strip=schema)
        case Mirror(port=port):
            return ActionDocument(mirror=PortTargetDocument(port))
        case Steer(ports=ports, position=position):
            kept = None if position is None else str(position)
            return ActionDocument(steer=SteerDocument(ports=list(ports), position=kept))
        case SetQueue(queue=queue):
            return ActionDocument(queue=queue)
        case SetDscp(dscp=dscp):
            return ActionDocument(dscp=dscp)
        case _:
            assert_never(action)


def _field_name(text: str, at: str) -> FieldName:
    schema, _, field = text.rpartition(".")
    if not schema:
        raise Invalid("field-invalid", f"{text!r}: want SCHEMA.FIELD", pointer=at)
    return FieldName(schema, field)


def _mac_or_none(text: str | None, at: str) -> int | None:
    return None if text is None else parse_mac(text, at)


def _ethertype(said: int | str | None) -> int | None:
    if said is None or isinstance(said, int):
        return said
    return _ETHERTYPES[said] if said in _ETHERTYPES else parse_number(said, "/match/ethertype")


def _protocol(said: int | str | None, at: str) -> int | None:
    if said is None or isinstance(said, int):
        return said
    return _PROTOCOLS[said] if said in _PROTOCOLS else parse_number(said, at)


def _shown_protocol(number: int | None) -> int | str | None:
    return None if number is None else _PROTOCOL_NAMES.get(number, number)


def _ports(said: Iterable[int | str], at: str) -> Iterator[PortRange]:
    for position, one in enumerate(said):
        where = at + pointer(position)
        if isinstance(one, int):
            yield PortRange(one, one)
            continue
        first, dash, last = one.partition("-")
        low = parse_number(first, where)
        yield PortRange(low, parse_number(last, where) if dash else low)


def _shown_ports(ports: Iterable[PortRange]) -> list[int | str]:
    return [first if first == last else f"{first}-{last}" for first, last in ports]


def _prefix(text: str | None, at: str) -> Prefix | None:
    if text is None:
        return None
    try:
        return ip_network(text)
    except ValueError as error:
        raise Invalid("prefix-invalid", f"{text!r}: {error}", pointer=at) from error
