# SPDX-License-Identifier: Apache-2.0
"""Flows and groups in the syntax of `ovs-ofctl` (ovs-actions(7), ovs-fields(7)), for people and golden files.

`ovs-ofctl -O OpenFlow15 add-flow` reads what is rendered here. Tables can be written by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ovs_geneve.openflow.actions import (
    OFPP_CONTROLLER,
    OFPP_IN_PORT,
    OFPP_LOCAL,
    Action,
    Clone,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    DeleteField,
    FieldBits,
    Group,
    Meter,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetQueue,
)
from ovs_geneve.openflow.fields import ETH_TYPE, IP_PROTO, REGS, XREGS, Field, Form
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, Term

TableNames = Mapping[int, str]

_NO_NAMES: TableNames = {}

_PORTS = {OFPP_IN_PORT: "IN_PORT", OFPP_CONTROLLER: "CONTROLLER", OFPP_LOCAL: "LOCAL"}

_ETHERTYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6", 0x8035: "rarp"}
_PROTOCOLS = {
    (0x0800, 1): "icmp",
    (0x0800, 6): "tcp",
    (0x0800, 17): "udp",
    (0x0800, 132): "sctp",
    (0x86DD, 6): "tcp6",
    (0x86DD, 17): "udp6",
    (0x86DD, 58): "icmp6",
    (0x86DD, 132): "sctp6",
}
"What ovs-ofctl writes for an eth_type and an ip_proto."

_FRAGMENTS = {(1, 1): "yes", (0, 3): "no", (1, 3): "first", (3, 3): "later", (0, 2): "not_later"}

_TUNNEL_FLAGS = ("oam",)
_CT_STATES = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]")


def render_flow(flow: Flow, tables: TableNames = _NO_NAMES) -> str:
    """Render a flow as `ovs-ofctl dump-flows` lays it out and `add-flow` takes it.

    `tables` names tables by number. ovs-ofctl itself fails to read a few masks: some of ip_frag, and
    IPv6 masks that start with a decimal digit.
    """
    head = [f"cookie={flow.cookie:#x}"] if flow.cookie else []
    head.append(f"table={_table(flow.table, tables)}")
    if flow.idle_timeout:
        head.append(f"idle_timeout={flow.idle_timeout}")
    if flow.hard_timeout:
        head.append(f"hard_timeout={flow.hard_timeout}")
    match = render_match(flow.match)
    head.append(f"priority={flow.priority}{',' if match else ''}{match}")
    return f"{', '.join(head)} actions={_instructions(flow, tables)}"


def render_match(match: Match) -> str:
    """Render the terms of a match; the empty text matches everything."""
    exact = {term.field: term.value for term in match.terms if term.mask is None}
    eth_type, protocol = exact.get(ETH_TYPE), exact.get(IP_PROTO)
    short = _PROTOCOLS.get((eth_type, protocol)) if eth_type is not None and protocol is not None else None
    hidden: tuple[Field, ...] = (ETH_TYPE, IP_PROTO)
    if short is None and eth_type in _ETHERTYPES:
        short, hidden = _ETHERTYPES[eth_type], (ETH_TYPE,)
    if short is None:
        hidden = ()
    terms = [text for term in match.terms if term.field not in hidden for text in _terms(term)]
    return ",".join(([short] if short else []) + terms)


def render_actions(actions: Iterable[Action], tables: TableNames = _NO_NAMES) -> str:
    """Render a list of actions; the empty list is "drop"."""
    return ",".join(_action(action, tables) for action in actions) or "drop"


def render_group(entry: GroupEntry, tables: TableNames = _NO_NAMES) -> str:
    """Render a group as `ovs-ofctl add-group` takes it."""
    kind = "ff" if entry.kind is GroupKind.FAST_FAILOVER else entry.kind.name.lower()
    buckets = [f"bucket={_bucket(place, bucket, tables)}" for place, bucket in enumerate(entry.buckets)]
    return ",".join([f"group_id={entry.group_id}", f"type={kind}", *buckets])


def _table(number: int, tables: TableNames) -> str:
    return tables.get(number, str(number))


def _instructions(flow: Flow, tables: TableNames) -> str:
    if flow.goto is None:
        return render_actions(flow.actions, tables)
    goto = f"goto_table:{_table(flow.goto, tables)}"
    return f"{render_actions(flow.actions, tables)},{goto}" if flow.actions else goto


def _bucket(place: int, bucket: Bucket, tables: TableNames) -> str:
    parts = [f"bucket_id:{place if bucket.bucket_id is None else bucket.bucket_id}"]
    if bucket.weight is not None:
        parts.append(f"weight:{bucket.weight}")
    if bucket.watch_port is not None:
        parts.append(f"watch_port:{bucket.watch_port}")
    return ",".join([*parts, f"actions={render_actions(bucket.actions, tables)}"])


def _terms(term: Term) -> list[str]:
    field, value, mask = term
    if field in XREGS:
        return [_term(half) for half in _registers(XREGS.index(field), value, mask)]
    return [_term(term)]


def _registers(index: int, value: int, mask: int | None) -> list[Term]:
    """Split an xreg into the two registers that ovs-ofctl shows."""
    mask = (1 << 64) - 1 if mask is None else mask
    halves = []
    for reg, shift in ((REGS[2 * index], 32), (REGS[2 * index + 1], 0)):
        bits = mask >> shift & reg.ones
        if bits:
            halves.append(Term(reg, value >> shift & reg.ones, None if bits == reg.ones else bits))
    return halves


def _term(term: Term) -> str:
    field, value, mask = term
    if field.form is Form.OPTION and mask == 0:
        return field.name
    return f"{field.name}={_value(field, value, mask)}"


def _value(field: Field, value: int, mask: int | None) -> str:
    match field.form:
        case Form.TUNNEL_FLAGS:
            return _flags(_TUNNEL_FLAGS, value, field.ones if mask is None else mask)
        case Form.CT_STATE:
            return _flags(_CT_STATES, value, field.ones if mask is None else mask)
        case Form.TCP_FLAGS if mask is not None:
            return _flags(_TCP_FLAGS, value, mask)
        case Form.FRAGMENT:
            known = _FRAGMENTS.get((value, field.ones if mask is None else mask))
            return known if known is not None else f"{value:#x}/{field.ones if mask is None else mask:#x}"
        case Form.PACKET_TYPE:
            return f"({value >> 16},{value & 0xFFFF:#x})"
        case Form.IPV4 | Form.IPV6 if mask is not None:
            return f"{_number(field, value)}/{_address_mask(field, mask)}"
        case _:
            number = _number(field, value)
            return number if mask is None else f"{number}/{_number(field, mask, of_mask=True)}"


def _number(field: Field, value: int, *, of_mask: bool = False) -> str:
    match field.form:
        case Form.MAC:
            return value.to_bytes(6).hex(":")
        case Form.IPV4:
            return str(IPv4Address(value))
        case Form.IPV6:
            return str(IPv6Address(value))
        case Form.PORT:
            return _port(value)
        case Form.DECIMAL if not of_mask:
            return str(value)
        case _:
            return f"{value:#x}"


def _address_mask(field: Field, mask: int) -> str:
    host_bits = ~mask & field.ones
    if host_bits & (host_bits + 1) == 0:
        return str(field.bits - host_bits.bit_length())
    return _number(field, mask)


def _flags(names: tuple[str, ...], value: int, mask: int) -> str:
    return "".join(
        f"{'+' if value >> bit & 1 else '-'}{name}" for bit, name in enumerate(names) if mask >> bit & 1
    )


def _port(port: int) -> str:
    return _PORTS.get(port, str(port))


def _bits(field: Field, offset: int, bits: int) -> str:
    if bits == field.bits:
        return f"{field.name}[]"
    return f"{field.name}[{offset}]" if bits == 1 else f"{field.name}[{offset}..{offset + bits - 1}]"


def _action(action: Action, tables: TableNames) -> str:
    if isinstance(action, Resubmit):
        port = "" if action.in_port is None else _port(action.in_port)
        return f"resubmit({port},{_table(action.table, tables)})"
    if isinstance(action, Ct):
        return _ct(action, tables)
    if isinstance(action, Clone):
        return f"clone({render_actions(action.actions, tables)})"
    return _RENDERERS[type(action)](action)


def _set_field(action: SetField) -> str:
    field, value, mask = action.field, action.value, action.mask
    number = _number(field, value)
    if field.form is Form.TUNNEL_FLAGS:
        # One flag has no mask: ovs-ofctl reads the names of those that are set, not a number.
        number, mask = "|".join(_TUNNEL_FLAGS) if value else "0", None
    if mask is not None:
        number = f"{number}/{_number(field, mask, of_mask=True)}"
    return f"set_field:{number}->{field.name}"


def _move(action: Move) -> str:
    source = _bits(action.source, action.source_offset, action.bits)
    return f"move:{source}->{_bits(action.destination, action.destination_offset, action.bits)}"


def _ct(action: Ct, tables: TableNames) -> str:
    parts = ["commit"] if action.commit else []
    if action.force:
        parts.append("force")
    if action.table is not None:
        parts.append(f"table={_table(action.table, tables)}")
    zone = action.zone
    if isinstance(zone, FieldBits):
        parts.append(f"zone={_bits(zone.field, zone.offset, zone.bits)}")
    elif zone:
        parts.append(f"zone={zone}")
    if action.actions:
        parts.append(f"exec({render_actions(action.actions)})")
    return f"ct({','.join(parts)})"


def _controller(action: Controller) -> str:
    parts = []
    if action.max_len != 0xFFFF:
        parts.append(f"max_len={action.max_len}")
    if action.controller_id:
        parts.append(f"id={action.controller_id}")
    if action.userdata:
        parts.append(f"userdata={action.userdata.hex('.')}")
    if action.meter_id is not None:
        parts.append(f"meter_id={action.meter_id}")
    return f"controller({','.join(parts)})"


# Any: a mapping cannot say that the function for each class takes that class.
_RENDERERS: Mapping[type, Callable[[Any], str]] = {
    Output: lambda action: (
        f"CONTROLLER:{action.max_len}" if action.port == OFPP_CONTROLLER else f"output:{_port(action.port)}"
    ),
    OutputField: lambda action: f"output:{_bits(action.field, action.offset, action.width)}",
    Group: lambda action: f"group:{action.group_id}",
    SetField: _set_field,
    Move: _move,
    PopVlan: lambda _: "pop_vlan",
    PushVlan: lambda action: f"push_vlan:{action.ethertype:#06x}",
    DecTtl: lambda _: "dec_ttl",
    Controller: _controller,
    DeleteField: lambda action: f"delete_field:{action.field.name}",
    Meter: lambda action: f"meter:{action.meter_id}",
    SetQueue: lambda action: f"set_queue:{action.queue_id}",
    CtClear: lambda _: "ct_clear",
}
