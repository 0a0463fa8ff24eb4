# SPDX-License-Identifier: Apache-2.0
"""Between REST documents and specs, both ways. Pure; what is wrong with a document is an `Invalid` with a pointer."""

from __future__ import annotations

from dataclasses import asdict
from functools import singledispatch
from ipaddress import ip_address

import msgspec
from msgspec import UNSET, structs

from controller.api.option_values import (
    checked,
    parse_mac,
    parse_number,
    parse_values,
    render_mac,
    render_values,
)
from controller.api.rule_documents import (
    group_document,
    group_spec,
    option_policy_document,
    option_policy_spec,
    policy_document,
    policy_spec,
)
from controller.api.rule_schema import GroupDocument, OptionPolicyDocument, PolicyDocument
from controller.api.schema import (
    Document,
    EndpointDocument,
    FieldDocument,
    HostDocument,
    NetworkDocument,
    OptionSchemaDocument,
    PortDocument,
    TargetDocument,
    TunnelDocument,
)
from controller.errors import Invalid
from controller.intent.checks.documents import pointer
from controller.intent.checks.profiles import settle_profile
from controller.intent.intent import Intent
from controller.intent.model import (
    Address,
    AnyObject,
    DatapathChoice,
    GroupSpec,
    HostKind,
    HostSpec,
    InnerVlan,
    NetworkSpec,
    OffloadChoice,
    OptionDirection,
    OptionPolicySpec,
    OptionSchemaSpec,
    Payload,
    PolicySpec,
    PortSpec,
    Spec,
    TargetSpec,
    Tunables,
    TunnelStyle,
)
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.field_names import Names
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.values import option_class, option_type, vni


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
        tunables=Tunables(**structs.asdict(tunnel)),
        tunnels=TunnelStyle(document.tunnels),
        underlay_mtu=document.underlay_mtu,
        offload=None if document.offload is None else OffloadChoice(document.offload),
    )


@to_spec.register
def _(document: NetworkDocument, name: str, intent: Intent) -> NetworkSpec:
    number = document.vni
    return NetworkSpec(
        vni=None if number is None else checked("vni-out-of-range", "/vni", vni, number),
        options=tuple(document.options),
        values=tuple(parse_values(document.values, "values", intent)),
        mtu=document.mtu,
        inner_vlan=InnerVlan(document.inner_vlan),
        target=None if document.target is None else _target(document.target),
        payload=Payload(document.payload),
    )


@to_spec.register
def _(document: PortDocument, name: str, intent: Intent) -> PortSpec:
    return PortSpec(
        network=document.network,
        mac=parse_mac(document.mac, "/mac"),
        addresses=tuple(
            _address(text, pointer("addresses", index)) for index, text in enumerate(document.addresses)
        ),
        interface_id=document.interface_id,
        values=tuple(parse_values(document.options, "options", intent)),
        group=document.group,
    )


@to_spec.register
def _(document: OptionSchemaDocument, name: str, intent: Intent) -> OptionSchemaSpec:
    class_number, type_number = parse_number(document.class_, "/class"), parse_number(document.type, "/type")
    fields = tuple(_option_field(index, one) for index, one in enumerate(document.fields))
    class_, type_ = (
        checked("class-out-of-range", "/class", option_class, class_number),
        checked("type-out-of-range", "/type", option_type, type_number),
    )
    try:
        layout = OptionLayout(
            name=name, option_class=class_, option_type=type_, length=document.length, fields=fields
        )
    except EncodeError as error:
        at = "/length" if "length" in error.field else _culprit(error, document)
        raise Invalid("layout-invalid", str(error), pointer=at) from error
    return OptionSchemaSpec(
        layout=layout,
        direction=OptionDirection(document.direction),
        replaces=document.replaces,
        allow_registered=document.allow_registered,
        profile=document.profile,
    )


@to_spec.register
def _(document: OptionPolicyDocument, name: str, intent: Intent) -> OptionPolicySpec:
    return option_policy_spec(document, intent)


@to_spec.register
def _(document: GroupDocument, name: str, intent: Intent) -> GroupSpec:
    return group_spec(document)


@to_spec.register
def _(document: PolicyDocument, name: str, intent: Intent) -> PolicySpec:
    return policy_spec(document)


def to_document(held: AnyObject, intent: Intent) -> Document:
    """Turn a stored object into the document that would make it."""
    return _rendered(held.spec, dict(held.labels), intent)


@singledispatch
def _rendered(spec: Spec, labels: dict[str, str], intent: Intent) -> Document:
    raise TypeError(f"no document for {spec!r}")


@_rendered.register
def _(spec: HostSpec, labels: dict[str, str], intent: Intent) -> HostDocument:
    return HostDocument(
        labels=labels,
        kind=spec.kind.value,
        ovsdb=spec.ovsdb,
        system_id=spec.system_id,
        endpoints=[EndpointDocument(str(address)) for address in spec.endpoints],
        bridge=spec.bridge,
        datapath=spec.datapath.value,
        tunnel=TunnelDocument(**asdict(spec.tunables)),
        tunnels=spec.tunnels.value,
        underlay_mtu=spec.underlay_mtu,
        offload=None if spec.offload is None else spec.offload.value,
    )


@_rendered.register
def _(spec: NetworkSpec, labels: dict[str, str], intent: Intent) -> NetworkDocument:
    values = render_values(spec.values, intent)
    return NetworkDocument(
        labels=labels,
        vni=spec.vni,
        options=list(spec.options),
        values=values,
        mtu=spec.mtu,
        inner_vlan=spec.inner_vlan.value,
        payload=spec.payload.value,
        target=None if spec.target is None else _target_document(spec.target),
    )


@_rendered.register
def _(spec: PortSpec, labels: dict[str, str], intent: Intent) -> PortDocument:
    return PortDocument(
        labels=labels,
        network=spec.network,
        mac=render_mac(spec.mac),
        addresses=[str(address) for address in spec.addresses],
        interface_id=spec.interface_id,
        options=render_values(spec.values, intent),
        group=spec.group,
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
        direction=spec.direction.value,
        replaces=spec.replaces,
        allow_registered=spec.allow_registered,
        profile=spec.profile,
    )


@_rendered.register
def _(spec: OptionPolicySpec, labels: dict[str, str], intent: Intent) -> OptionPolicyDocument:
    return option_policy_document(spec, labels, intent)


@_rendered.register
def _(spec: GroupSpec, labels: dict[str, str], intent: Intent) -> GroupDocument:
    return group_document(spec, labels)


@_rendered.register
def _(spec: PolicySpec, labels: dict[str, str], intent: Intent) -> PolicyDocument:
    return policy_document(spec, labels)


def _target(document: TargetDocument) -> TargetSpec:
    return TargetSpec(
        gateways=tuple(
            _address(text, pointer("target", "gateways", index))
            for index, text in enumerate(document.gateways)
        ),
        hosts=tuple(document.hosts),
    )


def _target_document(target: TargetSpec) -> TargetDocument:
    return TargetDocument(gateways=[str(one) for one in target.gateways], hosts=list(target.hosts))


def _option_field(index: int, document: FieldDocument) -> OptionField:
    kind, at = FieldKind(document.type), pointer("fields", index)
    return checked(
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


def _address(text: str, at: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Invalid("address-invalid", f"{text!r} is no IPv4 or IPv6 address", pointer=at) from error


def to_layout(document: object, name: str) -> OptionLayout:
    """Read an option-schema document, parsed from JSON or YAML, as a layout; ValidationError and Invalid rise.

    One of a profile that leaves its fields out has those of the profile, as it has once it is stored.
    """
    typed = msgspec.convert(document, OptionSchemaDocument)
    spec = to_spec(typed, name, Intent())
    assert isinstance(spec, OptionSchemaSpec)
    return settle_profile(spec.layout, spec.profile) if spec.profile else spec.layout
