# SPDX-License-Identifier: Apache-2.0
"""Objects as rows of `schema.ovsschema`, and back, exactly.

References are row UUIDs, so that the database itself refuses to lose what others need. Lists that have an
order are maps from position; option values are maps from "schema.field", as policies spell it, to hexadecimal.
Pure: which UUID a name has is told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, assert_never

from controller.intent import kept_rows, rule_rows
from controller.intent.model import (
    Address,
    AnyObject,
    BindingSpec,
    CapabilitySpec,
    DatapathChoice,
    GroupSpec,
    HostKind,
    HostSpec,
    InnerVlan,
    Kind,
    NetworkSpec,
    Object,
    ObjectKey,
    OffloadChoice,
    OptionDirection,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    Payload,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
    Spec,
    TargetSpec,
    Tunables,
    TunnelStyle,
)
from controller.intent.row import Reference, Row, Rows
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.ovsdb.operations import Input
from ovs_geneve.ovsdb.schema import Value
from ovs_geneve.values import mac_text, option_class, option_type, vni

TABLES: Mapping[Kind, str] = {
    Kind.HOST: "Host",
    Kind.OPTION_SCHEMA: "Option_Schema",
    Kind.NETWORK: "Network",
    Kind.GROUP: "Group",
    Kind.PORT: "Port",
    Kind.OPTION_POLICY: "Option_Policy",
    Kind.POLICY: "Policy",
    Kind.BINDING: "Binding",
    Kind.CAPABILITY: "Capability",
    Kind.ROLLOUT: "Rollout",
    Kind.RETIRED_SLOT: "Retired_Slot",
}
"In the order in which they can be decoded: nothing refers to what comes later."


def encode_row(held: AnyObject, row_of: Reference) -> dict[str, Input]:
    """Return the columns of an object's row, every one of them."""
    columns = {
        "revision": held.revision,
        "labels": dict(held.labels),
        **_encode_spec(held.name, held.spec, row_of),
    }
    if held.kind is Kind.BINDING:
        return {**columns, "port": row_of(Kind.PORT, held.name)}
    return {**columns, "name": held.name, "key": held.key}


def decode_row(kind: Kind, columns: Mapping[str, Value], known: Rows) -> AnyObject:
    """Return the object in a row; raise DecodeError for what no controller of ours writes.

    `known` holds what was decoded from the tables before.
    """
    row = Row(columns, known)
    try:
        if kind is Kind.BINDING:
            port = row.referred("port")
            name, key = port.name, port.key
        else:
            name, key = row.text("name"), ObjectKey(row.number("key"))
        return Object(
            kind=kind,
            name=name,
            key=key,
            spec=_DECODERS[kind](row),
            revision=row.number("revision"),
            labels=row.pairs("labels"),
        )
    except (ValueError, KeyError) as error:
        raise DecodeError(f"{TABLES[kind]} {columns.get('name', '')}", str(error)) from error


def _encode_spec(name: str, spec: Spec, row_of: Reference) -> dict[str, Input]:
    match spec:
        case HostSpec():
            return _encode_host(spec)
        case NetworkSpec():
            options = [row_of(Kind.OPTION_SCHEMA, name) for name in spec.options]
            return {
                "vni": spec.vni,
                "options": dict(enumerate(options)),
                "values": _encode_values(spec.values),
                "mtu": spec.mtu,
                "inner_vlan": spec.inner_vlan.value,
                "payload": spec.payload.value,
                **_encode_target(spec.target, row_of),
            }
        case PortSpec():
            return {
                "network": row_of(Kind.NETWORK, spec.network),
                "mac": mac_text(spec.mac),
                "addresses": _encode_addresses(spec.addresses),
                "interface_id": spec.interface_id,
                "values": _encode_values(spec.values),
                "group": None if spec.group is None else row_of(Kind.GROUP, spec.group),
            }
        case OptionSchemaSpec():
            return _encode_schema(spec)
        case OptionPolicySpec():
            return rule_rows.encode_option_policy(spec, row_of)
        case PolicySpec():
            return rule_rows.encode_policy(spec, row_of)
        case GroupSpec():
            return {"identity": spec.identity}
        case BindingSpec():
            return {"host": row_of(Kind.HOST, spec.host)}
        case CapabilitySpec():
            return kept_rows.encode_capability(spec, row_of(Kind.HOST, name))
        case RolloutSpec():
            return kept_rows.encode_rollout(spec, row_of)
        case RetiredSlotSpec():
            return {"tlv_map": kept_rows.encode_tlv_map(spec.tlv_map)}
        case _:
            assert_never(spec)


def _encode_target(target: TargetSpec | None, row_of: Reference) -> dict[str, Input]:
    if target is None:
        return {"target_gateways": {}, "target_hosts": {}}
    hosts = [row_of(Kind.HOST, name) for name in target.hosts]
    return {
        "target_gateways": _encode_addresses(target.gateways),
        "target_hosts": dict(enumerate(hosts)),
    }


def _decode_target(row: Row) -> TargetSpec | None:
    gateways = _decode_addresses(row, "target_gateways")
    hosts = tuple(row.find(host).name for host in row.sequence("target_hosts"))
    return TargetSpec(gateways=gateways, hosts=hosts) if gateways or hosts else None


def _encode_host(spec: HostSpec) -> dict[str, Input]:
    tunables = spec.tunables
    switches = ("csum", "df_default", "df_inherit", "udp6_zero_csum")
    tunnel = {name: str(getattr(tunables, name)).lower() for name in switches}
    if tunables.ttl is not None:
        tunnel["ttl"] = str(tunables.ttl)
    if tunables.tos is not None:
        tunnel["tos"] = str(tunables.tos)
    return {
        "kind": spec.kind.value,
        "ovsdb": spec.ovsdb,
        "system_id": spec.system_id,
        "endpoints": _encode_addresses(spec.endpoints),
        "bridge": spec.bridge,
        "datapath": spec.datapath.value,
        "tunnel": tunnel,
        "underlay_mtu": spec.underlay_mtu,
        "tunnels": spec.tunnels.value,
        "offload": None if spec.offload is None else spec.offload.value,
    }


def _encode_schema(spec: OptionSchemaSpec) -> dict[str, Input]:
    layout = spec.layout
    fields = [_encode_field(field) for field in layout.fields]
    return {
        "class": layout.option_class,
        "type": layout.option_type,
        "length": layout.length,
        "fields": dict(enumerate(fields)),
        "allow_registered": spec.allow_registered,
        "direction": spec.direction.value,
        "replaces": spec.replaces,
        "profile": spec.profile,
        "slot": spec.slot,
    }


def _encode_field(field: OptionField) -> str:
    words = [field.name, field.kind.value, str(field.offset), str(field.bits)]
    if field.names:
        words.append(",".join(f"{name}={number}" for name, number in field.names))
    return " ".join(words)


def _encode_addresses(addresses: Iterable[Address]) -> dict[int, str]:
    return {position: str(address) for position, address in enumerate(addresses)}


def _encode_values(values: Iterable[OptionValue]) -> dict[str, str]:
    return {f"{one.schema}.{one.field}": f"{one.value:#x}" for one in values}


def _decode_host(row: Row) -> HostSpec:
    tunnel, offload = row.mapping("tunnel"), row.text_or_none("offload")
    return HostSpec(
        kind=HostKind(row.text("kind")),
        ovsdb=row.text_or_none("ovsdb"),
        system_id=row.text_or_none("system_id"),
        endpoints=_decode_addresses(row, "endpoints"),
        bridge=row.text("bridge"),
        datapath=DatapathChoice(row.text("datapath")),
        tunables=Tunables(
            csum=tunnel["csum"] == "true",
            df_default=tunnel["df_default"] == "true",
            df_inherit=tunnel.get("df_inherit") == "true",
            udp6_zero_csum=tunnel.get("udp6_zero_csum", "true") == "true",
            ttl=_decode_tunable(tunnel.get("ttl")),
            tos=_decode_tunable(tunnel.get("tos")),
        ),
        underlay_mtu=row.number_or_none("underlay_mtu"),
        tunnels=TunnelStyle(row.text("tunnels") or TunnelStyle.METADATA),
        offload=None if offload is None else OffloadChoice(offload),
    )


def _decode_tunable(text: str | None) -> int | Literal["inherit"] | None:
    if text is None:
        return None
    return "inherit" if text == "inherit" else int(text)


def _decode_network(row: Row) -> NetworkSpec:
    return NetworkSpec(
        vni=vni(row.number("vni")),
        options=tuple(row.find(schema).name for schema in row.sequence("options")),
        values=_decode_values(row),
        mtu=row.number_or_none("mtu"),
        inner_vlan=InnerVlan(row.text("inner_vlan") or InnerVlan.FORBID),
        target=_decode_target(row),
        payload=Payload(row.text("payload") or Payload.ETHERNET),
    )


def _decode_port(row: Row) -> PortSpec:
    return PortSpec(
        network=row.referred("network").name,
        mac=int(row.text("mac").replace(":", ""), 16),
        addresses=_decode_addresses(row, "addresses"),
        interface_id=row.text_or_none("interface_id"),
        values=_decode_values(row),
        group=row.name_or_none("group"),
    )


def _decode_schema(row: Row) -> OptionSchemaSpec:
    layout = OptionLayout(
        name=row.text("name"),
        option_class=option_class(row.number("class")),
        option_type=option_type(row.number("type")),
        length=row.number("length"),
        fields=tuple(_decode_field(str(text)) for text in row.sequence("fields")),
    )
    return OptionSchemaSpec(
        layout=layout,
        direction=OptionDirection(row.text("direction") or OptionDirection.BOTH),
        replaces=row.text_or_none("replaces"),
        allow_registered=bool(row.number("allow_registered")),
        profile=row.text_or_none("profile"),
        slot=row.number("slot"),
    )


def _decode_field(text: str) -> OptionField:
    name, kind, offset, bits, *named = text.split(" ")
    return OptionField(
        name=name,
        kind=FieldKind(kind),
        offset=int(offset),
        bits=int(bits),
        names=tuple(_decode_name(word) for words in named for word in words.split(",")),
    )


def _decode_name(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    return name, int(number)


def _decode_values(row: Row) -> tuple[OptionValue, ...]:
    values = list[OptionValue]()
    for selector, text in row.pairs("values"):
        schema, _, field = selector.rpartition(".")
        values.append(OptionValue(schema=schema, field=field, value=int(text, 16)))
    return tuple(sorted(values))


def _decode_addresses(row: Row, column: str) -> tuple[Address, ...]:
    return tuple(_decode_address(str(text)) for text in row.sequence(column))


def _decode_address(text: str) -> Address:
    # `ip_address` tries IPv4 first, whatever the text: half of the time for IPv6 is an exception.
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _decode_group(row: Row) -> GroupSpec:
    return GroupSpec(identity=row.number("identity"))


def _decode_binding(row: Row) -> BindingSpec:
    return BindingSpec(host=row.referred("host").name)


_DECODERS: Mapping[Kind, Callable[[Row], Spec]] = {
    Kind.HOST: _decode_host,
    Kind.NETWORK: _decode_network,
    Kind.PORT: _decode_port,
    Kind.OPTION_SCHEMA: _decode_schema,
    Kind.OPTION_POLICY: rule_rows.decode_option_policy,
    Kind.GROUP: _decode_group,
    Kind.POLICY: rule_rows.decode_policy,
    Kind.BINDING: _decode_binding,
    Kind.CAPABILITY: kept_rows.decode_capability,
    Kind.ROLLOUT: kept_rows.decode_rollout,
    Kind.RETIRED_SLOT: kept_rows.decode_retired_slot,
}
