# SPDX-License-Identifier: Apache-2.0
"""Between REST documents and specs, both ways. Pure; what is wrong with a document is an `Invalid` with a pointer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import singledispatch
from ipaddress import ip_address
from typing import ParamSpec, TypeVar

import msgspec
import netaddr
from msgspec import UNSET

from controller.api.schema import (
    Document,
    EndpointDocument,
    FieldDocument,
    HostDocument,
    MatchDocument,
    NetworkDocument,
    OptionPolicyDocument,
    OptionSchemaDocument,
    PortDocument,
    SelectorDocument,
    TunnelDocument,
)
from controller.errors import Invalid
from controller.intent.checks.documents import pointer
from controller.intent.intent import Intent
from controller.intent.model import (
    Address,
    AnyObject,
    DatapathChoice,
    HostKind,
    HostSpec,
    NetworkSpec,
    OptionMatch,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    PolicyAction,
    PortSpec,
    Spec,
    Tunables,
)
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.field_names import Names
from ovs_geneve.geneve.fields import (
    FieldKind,
    OptionField,
    OptionLayout,
    Written,
    parse_match,
    parse_value,
    render_mask,
    render_value,
)
from ovs_geneve.values import option_class, option_type, vni

_PLAIN_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")

P = ParamSpec("P")
T = TypeVar("T")


@singledispatch
def to_spec(document: Document, name: str, intent: Intent) -> Spec:
    """Turn a document into a spec; option values are read by the schemas of `intent`."""
    raise TypeError(f"no document: {document!r}")


@to_spec.register
def _(document: HostDocument, name: str, intent: Intent) -> HostSpec:
    tunnel = document.tunnel
    return HostSpec(
        kind=HostKind(document.kind),
        ovsdb=document.ovsdb,
        system_id=document.system_id,
        endpoints=tuple(
            _address(endpoint.address, pointer("endpoints", index, "address"))
            for index, endpoint in enumerate(document.endpoints)
        ),
        bridge=document.bridge,
        datapath=DatapathChoice(document.datapath),
        tunables=Tunables(csum=tunnel.csum, ttl=tunnel.ttl, tos=tunnel.tos, df_default=tunnel.df_default),
    )


@to_spec.register
def _(document: NetworkDocument, name: str, intent: Intent) -> NetworkSpec:
    number = document.vni
    return NetworkSpec(
        vni=None if number is None else _field("vni-out-of-range", "/vni", vni, number),
        options=tuple(document.options),
        values=tuple(_values(document.values, "values", intent)),
    )


@to_spec.register
def _(document: PortDocument, name: str, intent: Intent) -> PortSpec:
    return PortSpec(
        network=document.network,
        mac=_mac(document.mac),
        addresses=tuple(
            _address(text, pointer("addresses", index)) for index, text in enumerate(document.addresses)
        ),
        interface_id=document.interface_id,
        values=tuple(_values(document.options, "options", intent)),
    )


@to_spec.register
def _(document: OptionSchemaDocument, name: str, intent: Intent) -> OptionSchemaSpec:
    class_number, type_number = _number(document.class_, "/class"), _number(document.type, "/type")
    fields = tuple(_option_field(index, one) for index, one in enumerate(document.fields))
    class_, type_ = (
        _field("class-out-of-range", "/class", option_class, class_number),
        _field("type-out-of-range", "/type", option_type, type_number),
    )
    try:
        layout = OptionLayout(
            name=name, option_class=class_, option_type=type_, length=document.length, fields=fields
        )
    except EncodeError as error:
        at = "/length" if "length" in error.field else _culprit(error, document)
        raise Invalid("layout-invalid", str(error), pointer=at) from error
    return OptionSchemaSpec(
        layout=layout, allow_registered=document.allow_registered, profile=document.profile
    )


@to_spec.register
def _(document: OptionPolicyDocument, name: str, intent: Intent) -> OptionPolicySpec:
    return OptionPolicySpec(
        network=document.network,
        priority=document.priority,
        to_port=document.to.port,
        match=tuple(_matches(document.match.option, intent)),
        action=PolicyAction(document.action),
    )


def to_document(held: AnyObject, intent: Intent) -> Document:
    """Turn a stored object into the document that would make it."""
    return _rendered(held.spec, dict(held.labels), intent)


@singledispatch
def _rendered(spec: Spec, labels: dict[str, str], intent: Intent) -> Document:
    raise TypeError(f"no document for {spec!r}")


@_rendered.register
def _(spec: HostSpec, labels: dict[str, str], intent: Intent) -> HostDocument:
    tunables = spec.tunables
    return HostDocument(
        labels=labels,
        ovsdb=spec.ovsdb,
        system_id=spec.system_id,
        endpoints=[EndpointDocument(str(address)) for address in spec.endpoints],
        bridge=spec.bridge,
        datapath=spec.datapath.value,
        tunnel=TunnelDocument(
            csum=tunables.csum, ttl=tunables.ttl, tos=tunables.tos, df_default=tunables.df_default
        ),
    )


@_rendered.register
def _(spec: NetworkSpec, labels: dict[str, str], intent: Intent) -> NetworkDocument:
    values = _render_values(spec.values, intent)
    return NetworkDocument(labels=labels, vni=spec.vni, options=list(spec.options), values=values)


@_rendered.register
def _(spec: PortSpec, labels: dict[str, str], intent: Intent) -> PortDocument:
    return PortDocument(
        labels=labels,
        network=spec.network,
        mac=spec.mac.to_bytes(6, "big").hex(":"),
        addresses=[str(address) for address in spec.addresses],
        interface_id=spec.interface_id,
        options=_render_values(spec.values, intent),
    )


@_rendered.register
def _(spec: OptionSchemaSpec, labels: dict[str, str], intent: Intent) -> OptionSchemaDocument:
    layout = spec.layout
    return OptionSchemaDocument(
        labels=labels,
        class_=f"{layout.option_class:#06x}",
        type=layout.option_type,
        length=layout.length,
        fields=[field_document(field) for field in layout.fields],
        allow_registered=spec.allow_registered,
        profile=spec.profile,
    )


@_rendered.register
def _(spec: OptionPolicySpec, labels: dict[str, str], intent: Intent) -> OptionPolicyDocument:
    return OptionPolicyDocument(
        labels=labels,
        network=spec.network,
        priority=spec.priority,
        to=SelectorDocument(spec.to_port),
        match=MatchDocument({f"{m.schema}.{m.field}": _render_match(m, intent) for m in spec.match}),
        action=spec.action.value,
    )


def _values(said: Mapping[str, Mapping[str, Written]], key: str, intent: Intent) -> Iterable[OptionValue]:
    for schema, fields in said.items():
        for name, value in fields.items():
            at = pointer(key, schema, name)
            field = _declared_field(intent, schema, name, at)
            number = _field("value-invalid", at, parse_value, field, value)
            yield OptionValue(schema=schema, field=name, value=number)


def _render_values(
    values: Iterable[OptionValue], intent: Intent
) -> dict[str, dict[str, int | str | list[str]]]:
    said: dict[str, dict[str, int | str | list[str]]] = {}
    for value in values:
        field = intent.option_schemas[value.schema].spec.layout.field(value.field)
        text = render_value(field, value.value)
        said.setdefault(value.schema, {})[value.field] = value.value if field.kind is FieldKind.UINT else text
    return said


def _matches(said: Mapping[str, int | str], intent: Intent) -> Iterable[OptionMatch]:
    for selector, text in said.items():
        at = pointer("match", "option", selector)
        schema, _, name = selector.rpartition(".")
        if not schema:
            raise Invalid("match-invalid", f"{selector!r}: want SCHEMA.FIELD", pointer=at)
        field = _declared_field(intent, schema, name, at)
        value, mask = _field("match-invalid", at, parse_match, field, text)
        ones = (1 << field.bits) - 1
        yield OptionMatch(schema=schema, field=name, value=value, mask=ones if mask is None else mask)


def _render_match(match: OptionMatch, intent: Intent) -> str:
    field = intent.option_schemas[match.schema].spec.layout.field(match.field)
    value = render_value(field, match.value)
    if match.mask == (1 << field.bits) - 1:
        return value
    return f"{value}/{render_mask(field, match.mask)}"


def _declared_field(intent: Intent, schema: str, name: str, at: str) -> OptionField:
    held = intent.option_schemas.get(schema)
    if held is None:
        raise Invalid("option-unknown", f"there is no option schema {schema}", pointer=at)
    try:
        return held.spec.layout.field(name)
    except EncodeError as error:
        raise Invalid("field-unknown", str(error), pointer=at, holder=held.id) from error


def _option_field(index: int, document: FieldDocument) -> OptionField:
    kind, at = FieldKind(document.type), pointer("fields", index)
    return _field(
        "field-invalid",
        at,
        OptionField,
        name=document.name,
        kind=kind,
        offset=document.offset,
        bits=document.bits,
        names=_field_names(kind, document, at),
    )


def _field_names(kind: FieldKind, document: FieldDocument, at: str) -> Names:
    """Return the names of an enum's values, or of the bits of flags; refuse them on any other kind."""
    values, flags = document.values, document.flags
    if values is not UNSET and kind is not FieldKind.ENUM:
        reason = f"field {document.name}: values go with enum, this is {kind.value}"
        raise Invalid("field-invalid", reason, pointer=at + "/values")
    if flags is not UNSET and kind is not FieldKind.FLAGS:
        reason = f"field {document.name}: names of bits go with flags, this is {kind.value}"
        raise Invalid("field-invalid", reason, pointer=at + "/flags")
    if values is not UNSET:
        return tuple(values.items())
    if len(flags or ()) > document.bits:
        reason = f"field {document.name}: {len(flags or ())} flags, the field has {document.bits} bits"
        raise Invalid("field-invalid", reason, pointer=at + "/flags")
    return tuple((name, bit) for bit, name in enumerate(flags or ()) if name)


def field_document(field: OptionField) -> FieldDocument:
    """Turn a field into the document that would make it."""
    document = FieldDocument(name=field.name, type=field.kind.value, offset=field.offset, bits=field.bits)
    if field.kind is FieldKind.ENUM:
        document.values = dict(field.names)
    elif field.names:
        name_of = {bit: name for name, bit in field.names}
        document.flags = [name_of.get(bit, "") for bit in range(max(name_of) + 1)]
    return document


def _culprit(error: EncodeError, document: OptionSchemaDocument) -> str:
    """Point at the field that an error about a layout names; of two with one name, at the later."""
    name = error.field.removeprefix("field ")
    places = [index for index, field in enumerate(document.fields) if field.name == name]
    return pointer("fields", places[-1]) if places else "/fields"


def _field(code: str, at: str, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return make(*args, **kwargs)
    except EncodeError as error:
        raise Invalid(code, str(error), pointer=at) from error


def _address(text: str, at: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid("address-invalid", f"{text!r} is no IPv4 or IPv6 address", pointer=at) from error


def _mac(text: str) -> int:
    if _PLAIN_MAC.fullmatch(text):
        return int(text.replace(":", ""), 16)  # netaddr, which knows all spellings, takes eight times as long
    try:
        return int(netaddr.EUI(text, version=48))
    except (netaddr.AddrFormatError, ValueError) as error:
        raise Invalid("mac-invalid", f"{text!r} is no MAC address", pointer="/mac") from error


def _number(value: int | str, at: str) -> int:
    try:
        return value if isinstance(value, int) else int(value, 0)
    except ValueError as error:
        raise Invalid(
            "number-invalid", f'{value!r}: want a number, or one as "0xff00"', pointer=at
        ) from error


def to_layout(document: object, name: str) -> OptionLayout:
    """Read an option-schema document, parsed from JSON or YAML, as a layout; ValidationError and Invalid rise."""
    typed = msgspec.convert(document, OptionSchemaDocument)
    spec = to_spec(typed, name, Intent())
    assert isinstance(spec, OptionSchemaSpec)
    return spec.layout
