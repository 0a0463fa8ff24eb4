# SPDX-License-Identifier: Apache-2.0
"""Objects as rows of `schema.ovsschema`, and back, exactly.

References are row UUIDs, so that the database itself refuses to lose what others need. Lists that have an
order are maps from position; option values are maps from "schema.field", as policies spell it, to hexadecimal.
Pure: which UUID a name has is told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import Literal, assert_never
from uuid import UUID

from controller.intent.model import (
    Address,
    AnyObject,
    BindingSpec,
    DatapathChoice,
    HostKind,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    ObjectKey,
    OptionMatch,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    PolicyAction,
    PortSpec,
    Spec,
    Tunables,
)
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.ovsdb.operations import Input, NamedUuid
from ovs_geneve.ovsdb.schema import Atom, Value
from ovs_geneve.values import option_class, option_type, vni

Rows = Mapping[UUID, AnyObject]
"Objects by the row they are in."

Reference = Callable[[Kind, str], "UUID | NamedUuid"]
"Tells the row an object is in, or will be in after this transaction."

TABLES: Mapping[Kind, str] = {
    Kind.HOST: "Host",
    Kind.OPTION_SCHEMA: "Option_Schema",
    Kind.NETWORK: "Network",
    Kind.PORT: "Port",
    Kind.OPTION_POLICY: "Option_Policy",
    Kind.BINDING: "Binding",
}
"In the order in which they can be decoded: nothing refers to what comes later."


def encode_row(held: AnyObject, row_of: Reference) -> dict[str, Input]:
    """Return the columns of an object's row, every one of them."""
    columns = {"revision": held.revision, "labels": dict(held.labels), **_encode_spec(held.spec, row_of)}
    if held.kind is Kind.BINDING:
        return {**columns, "port": row_of(Kind.PORT, held.name)}
    return {**columns, "name": held.name, "key": held.key}


def decode_row(kind: Kind, columns: Mapping[str, Value], known: Rows) -> AnyObject:
    """Return the object in a row; raise DecodeError for what no controller of ours writes.

    `known` holds what was decoded from the tables before.
    """
    row = _Row(columns, known)
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


class _Row:
    """Columns of a row, each with the type it must have."""

    __slots__ = ("_columns", "_known")

    def __init__(self, columns: Mapping[str, Value], known: Rows) -> None:
        self._columns = columns
        self._known = known

    def text(self, column: str) -> str:
        value = self._columns[column]
        if not isinstance(value, str):
            raise ValueError(f"{column}: {value!r} is no text")
        return value

    def text_or_none(self, column: str) -> str | None:
        return None if self._columns[column] is None else self.text(column)

    def number(self, column: str) -> int:
        value = self._columns[column]
        if not isinstance(value, int):
            raise ValueError(f"{column}: {value!r} is no number")
        return value

    def mapping(self, column: str) -> dict[str, str]:
        return {str(key): str(value) for key, value in self._pairs(column)}

    def pairs(self, column: str) -> tuple[tuple[str, str], ...]:
        """Return what a map of texts holds, sorted; it mostly is empty."""
        return tuple(sorted(self.mapping(column).items())) if self._columns[column] else ()

    def sequence(self, column: str) -> Iterator[Atom]:
        """Yield what is at positions 0, 1, 2, …"""
        return (value for _, value in sorted(self._pairs(column), key=itemgetter(0)))

    def referred(self, column: str) -> AnyObject:
        return self.find(self._columns[column])

    def referred_or_none(self, column: str) -> AnyObject | None:
        return None if self._columns[column] is None else self.referred(column)

    def find(self, uuid: Value) -> AnyObject:
        if not isinstance(uuid, UUID):
            raise ValueError(f"{uuid!r} is no row")
        return self._known[uuid]

    def _pairs(self, column: str) -> Iterable[tuple[Atom, Atom]]:
        value = self._columns[column]
        if not isinstance(value, Mapping):
            raise ValueError(f"{column}: {value!r} is no map")
        return value.items()


def _encode_spec(spec: Spec, row_of: Reference) -> dict[str, Input]:
    match spec:
        case HostSpec():
            return _encode_host(spec)
        case NetworkSpec():
            options = [row_of(Kind.OPTION_SCHEMA, name) for name in spec.options]
            return {
                "vni": spec.vni,
                "options": dict(enumerate(options)),
                "values": _encode_values(spec.values),
            }
        case PortSpec():
            return {
                "network": row_of(Kind.NETWORK, spec.network),
                "mac": spec.mac.to_bytes(6, "big").hex(":"),
                "addresses": _encode_addresses(spec.addresses),
                "interface_id": spec.interface_id,
                "values": _encode_values(spec.values),
            }
        case OptionSchemaSpec():
            return _encode_schema(spec)
        case OptionPolicySpec():
            return {
                "network": row_of(Kind.NETWORK, spec.network),
                "priority": spec.priority,
                "to_port": None if spec.to_port is None else row_of(Kind.PORT, spec.to_port),
                "match": {f"{one.schema}.{one.field}": f"{one.value:#x}/{one.mask:#x}" for one in spec.match},
                "action": spec.action.value,
            }
        case BindingSpec():
            return {"host": row_of(Kind.HOST, spec.host)}
        case _:
            assert_never(spec)


def _encode_host(spec: HostSpec) -> dict[str, Input]:
    tunables = spec.tunables
    tunnel = {"csum": str(tunables.csum).lower(), "df_default": str(tunables.df_default).lower()}
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


def _decode_host(row: _Row) -> HostSpec:
    tunnel = row.mapping("tunnel")
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
            ttl=_decode_tunable(tunnel.get("ttl")),
            tos=_decode_tunable(tunnel.get("tos")),
        ),
    )


def _decode_tunable(text: str | None) -> int | Literal["inherit"] | None:
    if text is None:
        return None
    return "inherit" if text == "inherit" else int(text)


def _decode_network(row: _Row) -> NetworkSpec:
    return NetworkSpec(
        vni=vni(row.number("vni")),
        options=tuple(row.find(schema).name for schema in row.sequence("options")),
        values=_decode_values(row),
    )


def _decode_port(row: _Row) -> PortSpec:
    return PortSpec(
        network=row.referred("network").name,
        mac=int(row.text("mac").replace(":", ""), 16),
        addresses=_decode_addresses(row, "addresses"),
        interface_id=row.text_or_none("interface_id"),
        values=_decode_values(row),
    )


def _decode_schema(row: _Row) -> OptionSchemaSpec:
    layout = OptionLayout(
        name=row.text("name"),
        option_class=option_class(row.number("class")),
        option_type=option_type(row.number("type")),
        length=row.number("length"),
        fields=tuple(_decode_field(str(text)) for text in row.sequence("fields")),
    )
    return OptionSchemaSpec(
        layout=layout,
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


def _decode_policy(row: _Row) -> OptionPolicySpec:
    to_port = row.referred_or_none("to_port")
    return OptionPolicySpec(
        network=row.referred("network").name,
        priority=row.number("priority"),
        to_port=None if to_port is None else to_port.name,
        match=tuple(sorted(_decode_match(*pair) for pair in row.mapping("match").items())),
        action=PolicyAction(row.text("action")),
    )


def _decode_match(selector: str, text: str) -> OptionMatch:
    schema, _, field = selector.rpartition(".")
    value, _, mask = text.partition("/")
    return OptionMatch(schema=schema, field=field, value=int(value, 16), mask=int(mask, 16))


def _decode_values(row: _Row) -> tuple[OptionValue, ...]:
    values = list[OptionValue]()
    for selector, text in row.pairs("values"):
        schema, _, field = selector.rpartition(".")
        values.append(OptionValue(schema=schema, field=field, value=int(text, 16)))
    return tuple(sorted(values))


def _decode_addresses(row: _Row, column: str) -> tuple[Address, ...]:
    return tuple(_decode_address(str(text)) for text in row.sequence(column))


def _decode_address(text: str) -> Address:
    # `ip_address` tries IPv4 first, whatever the text: half of the time for IPv6 is an exception.
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _decode_binding(row: _Row) -> BindingSpec:
    return BindingSpec(host=row.referred("host").name)


_DECODERS: Mapping[Kind, Callable[[_Row], Spec]] = {
    Kind.HOST: _decode_host,
    Kind.NETWORK: _decode_network,
    Kind.PORT: _decode_port,
    Kind.OPTION_SCHEMA: _decode_schema,
    Kind.OPTION_POLICY: _decode_policy,
    Kind.BINDING: _decode_binding,
}
