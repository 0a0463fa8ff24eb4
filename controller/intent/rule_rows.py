# SPDX-License-Identifier: Apache-2.0
"""Rules as rows, and back, exactly: option policies and policies between groups. Pure.

Matches and actions are maps of texts; ValueError and KeyError for what is none.

    match    {"protocol": "6", "destination_ports": "443-443 8000-8100", "source": "10.0.0.0/8"}
    actions  {0: "stamp context.tier 0x3", 1: "mirror tap1"}
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import assert_never

from controller.intent.model import (
    Direction,
    Kind,
    OptionMatch,
    OptionPolicySpec,
    PolicyAction,
    PolicySpec,
)
from controller.intent.row import Reference, Row
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
    ports_named,
)
from ovs_geneve.ovsdb.operations import Input


def encode_option_policy(spec: OptionPolicySpec, row_of: Reference) -> dict[str, Input]:
    """Return the columns of an option policy."""

    def row(kind: Kind, name: str | None) -> Input:
        return None if name is None else row_of(kind, name)

    return {
        "network": row_of(Kind.NETWORK, spec.network),
        "priority": spec.priority,
        "direction": spec.direction.value,
        "from_port": row(Kind.PORT, spec.from_port),
        "from_group": row(Kind.GROUP, spec.from_group),
        "to_port": row(Kind.PORT, spec.to_port),
        "to_group": row(Kind.GROUP, spec.to_group),
        "match": {f"{one.schema}.{one.field}": f"{one.value:#x}/{one.mask:#x}" for one in spec.match},
        "packet": encode_packet(spec.packet),
        "actions": encode_actions(spec.actions),
        # So that the database itself refuses to lose a port that packets are sent to.
        "ports": frozenset(row_of(Kind.PORT, name) for name in ports_named(spec.actions)),
        "action": None if spec.action is None else spec.action.value,
    }


def decode_option_policy(row: Row) -> OptionPolicySpec:
    """Read an option policy back."""
    action = row.text_or_none("action")
    return OptionPolicySpec(
        network=row.referred("network").name,
        priority=row.number("priority"),
        direction=Direction(row.text("direction") or Direction.INGRESS),
        from_port=row.name_or_none("from_port"),
        from_group=row.name_or_none("from_group"),
        to_port=row.name_or_none("to_port"),
        to_group=row.name_or_none("to_group"),
        match=tuple(sorted(_decode_match(*pair) for pair in row.mapping("match").items())),
        packet=decode_packet(row.mapping("packet")),
        actions=tuple(decode_action(str(text)) for text in row.sequence("actions")),
        action=None if action is None else PolicyAction(action),
    )


def _decode_match(selector: str, text: str) -> OptionMatch:
    schema, field = _field(selector)
    value, _, mask = text.partition("/")
    return OptionMatch(schema=schema, field=field, value=int(value, 16), mask=int(mask, 16))


def encode_policy(spec: PolicySpec, row_of: Reference) -> dict[str, Input]:
    """Return the columns of a policy between groups."""
    return {
        "network": row_of(Kind.NETWORK, spec.network),
        "from_group": None if spec.from_group is None else row_of(Kind.GROUP, spec.from_group),
        "to_group": row_of(Kind.GROUP, spec.to_group),
        "priority": spec.priority,
        "protocol": spec.protocol,
        "ports": encode_ports(spec.ports),
        "allow": spec.allow,
        "stateful": spec.stateful,
        "log": spec.log,
    }


def decode_policy(row: Row) -> PolicySpec:
    """Read a policy between groups back."""
    return PolicySpec(
        network=row.referred("network").name,
        from_group=row.name_or_none("from_group"),
        to_group=row.referred("to_group").name,
        priority=row.number("priority"),
        protocol=row.number_or_none("protocol"),
        ports=decode_ports(row.text("ports")),
        allow=row.truth("allow"),
        stateful=row.truth("stateful"),
        log=row.truth("log"),
    )


def encode_packet(match: PacketMatch) -> dict[str, str]:
    """Return a match as the texts of a map, what says nothing left out."""
    numbers = {
        "ethertype": match.ethertype,
        "source_mac": match.source_mac,
        "destination_mac": match.destination_mac,
        "protocol": match.protocol,
        "dscp": match.dscp,
    }
    texts = {name: str(number) for name, number in numbers.items() if number is not None}
    for name, prefix in (("source", match.source), ("destination", match.destination)):
        if prefix is not None:
            texts[name] = str(prefix)
    for name, ports in (
        ("source_ports", match.source_ports),
        ("destination_ports", match.destination_ports),
    ):
        if ports:
            texts[name] = encode_ports(ports)
    return texts


def decode_packet(texts: dict[str, str]) -> PacketMatch:
    """Read a match back."""

    def number(name: str) -> int | None:
        return int(texts[name]) if name in texts else None

    return PacketMatch(
        ethertype=number("ethertype"),
        source_mac=number("source_mac"),
        destination_mac=number("destination_mac"),
        source=ip_network(texts["source"]) if "source" in texts else None,
        destination=ip_network(texts["destination"]) if "destination" in texts else None,
        protocol=number("protocol"),
        source_ports=decode_ports(texts.get("source_ports", "")),
        destination_ports=decode_ports(texts.get("destination_ports", "")),
        dscp=number("dscp"),
    )


def encode_ports(ports: Iterable[PortRange]) -> str:
    """Return ranges of ports as one text."""
    return " ".join(f"{first}-{last}" for first, last in ports)


def decode_ports(text: str) -> tuple[PortRange, ...]:
    """Read ranges of ports back."""
    pairs = (word.split("-") for word in text.split())
    return tuple(PortRange(int(first), int(last)) for first, last in pairs)


def encode_actions(actions: Iterable[RuleAction]) -> dict[int, str]:
    """Return actions as texts by position."""
    return dict(enumerate(map(_encode_action, actions)))


def _encode_action(action: RuleAction) -> str:
    match action:
        case Stamp(to=to, value=value):
            return f"stamp {to} {value:#x}"
        case StampFrom(to=to, source=source):
            return f"stamp-from {to} {source.value}"
        case Copy(to=to, source=source_field):
            return f"copy {to} {source_field}"
        case Strip(schema=schema):
            return f"strip {schema}"
        case Mirror(port=port):
            return f"mirror {port}"
        case Steer(ports=ports, position=position):
            return " ".join(("steer", "-" if position is None else str(position), *ports))
        case SetQueue(queue=queue):
            return f"queue {queue}"
        case SetDscp(dscp=dscp):
            return f"dscp {dscp}"
        case _:
            assert_never(action)


def decode_action(text: str) -> RuleAction:
    """Read an action back."""
    verb, *words = text.split(" ")
    match verb, words:
        case "stamp", [to, value]:
            return Stamp(_field(to), int(value, 16))
        case "stamp-from", [to, source]:
            return StampFrom(_field(to), PacketField(source))
        case "copy", [to, source]:
            return Copy(_field(to), _field(source))
        case "strip", [schema]:
            return Strip(schema)
        case "mirror", [port]:
            return Mirror(port)
        case "steer", [position, *ports]:
            return Steer(tuple(ports), None if position == "-" else _field(position))
        case "queue", [queue]:
            return SetQueue(int(queue))
        case "dscp", [dscp]:
            return SetDscp(int(dscp))
        case _:
            raise ValueError(f"{text!r} is no action")


def _field(text: str) -> FieldName:
    schema, _, field = text.rpartition(".")
    return FieldName(schema, field)
