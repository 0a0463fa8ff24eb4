# SPDX-License-Identifier: Apache-2.0
"""Whatever an object holds, its row gives back."""

from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.intent.commands import Bind
from controller.intent.model import (
    CapabilitySpec,
    DatapathChoice,
    Direction,
    GroupSpec,
    HostSpec,
    InnerVlan,
    Kind,
    NetworkSpec,
    Object,
    OffloadChoice,
    OptionMatch,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    PolicyAction,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
    RolloutStage,
    Tunables,
)
from controller.intent.rows import TABLES, decode_row, encode_row
from controller.intent.rules import FieldName, PortRange
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.intent.builders import KINDS, after, fabric
from tests.unit.intent.rule_strategies import PACKETS, actions

NETWORK, PORT, SCHEMA, OTHER, WEB, DB, HOST = (UUID(int=number) for number in range(1, 8))
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ADDRESSES = st.lists(
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)) | st.builds(IPv6Address, st.integers(0, 2**128 - 1))
)
FIELDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", fullmatch=True)
SELECTORS = st.tuples(NAMES, FIELDS)
NUMBERS = st.integers(0, 2**992 - 1)


def told(items):
    return tuple(sorted(items))


VALUES = st.dictionaries(SELECTORS, NUMBERS, max_size=4).map(
    lambda found: told(OptionValue(schema=one, field=two, value=value) for (one, two), value in found.items())
)
MATCHES = st.dictionaries(SELECTORS, st.tuples(NUMBERS, NUMBERS), max_size=4).map(
    lambda found: told(
        OptionMatch(schema=one, field=two, value=value, mask=mask)
        for (one, two), (value, mask) in found.items()
    )
)
WORDS = st.lists(FIELDS, min_size=1, max_size=3, unique=True).map(
    lambda words: tuple((word, number) for number, word in enumerate(words))
)


def shape(name, position):
    """A field of a byte, of whatever kind has room in one."""
    kinds = st.sampled_from([FieldKind.UINT, FieldKind.FLAGS, FieldKind.ENUM, FieldKind.BYTES])
    return st.tuples(kinds, WORDS).map(
        lambda pair: OptionField(
            name=name,
            kind=pair[0],
            offset=8 * position,
            bits=8,
            names=pair[1] if pair[0] in (FieldKind.ENUM, FieldKind.FLAGS) else (),
        )
    )


LAYOUTS = st.lists(FIELDS, max_size=4, unique=True).flatmap(
    lambda names: st.builds(
        OptionLayout,
        name=NAMES,
        option_class=st.integers(0, 0xFFFF),
        option_type=st.integers(0, 0xFF),
        length=st.sampled_from([4, 124]),
        fields=st.tuples(*(shape(name, position) for position, name in enumerate(names))),
    )
)
MAPS = st.builds(
    TlvMap,
    option_class=st.integers(0, 0xFFFF),
    option_type=st.integers(0, 0xFF),
    length=st.integers(0, 31).map(lambda words: 4 * words),
    index=st.integers(0, 63),
)
PORT_RANGES = st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)), max_size=4).map(
    lambda pairs: tuple(PortRange(*sorted(pair)) for pair in pairs)
)
SPECS = st.one_of(
    st.builds(
        HostSpec,
        ovsdb=st.none() | TEXTS,
        system_id=st.none() | TEXTS,
        endpoints=ADDRESSES.map(tuple),
        bridge=TEXTS,
        datapath=st.sampled_from(DatapathChoice),
        offload=st.none() | st.sampled_from(OffloadChoice),
        tunables=st.builds(
            Tunables,
            csum=st.booleans(),
            df_default=st.booleans(),
            ttl=st.none() | st.just("inherit") | st.integers(1, 255),
            tos=st.none() | st.just("inherit") | st.integers(0, 255),
        ),
    ),
    st.builds(
        NetworkSpec,
        vni=st.integers(1, 2**24 - 1),
        options=st.permutations(["schema", "other"]).map(tuple) | st.just(()),
        values=VALUES,
        inner_vlan=st.sampled_from(InnerVlan),
    ),
    st.builds(
        PortSpec,
        network=st.just("network"),
        mac=st.integers(0, 2**48 - 1),
        addresses=ADDRESSES.map(tuple),
        interface_id=st.none() | TEXTS,
        values=VALUES,
        group=st.none() | st.just("web"),
    ),
    st.builds(
        OptionSchemaSpec,
        layout=LAYOUTS,
        allow_registered=st.booleans(),
        profile=st.none() | NAMES,
        slot=st.integers(0, 63),
    ),
    st.builds(
        OptionPolicySpec,
        network=st.just("network"),
        priority=st.integers(0, 10_000),
        direction=st.sampled_from(Direction),
        from_port=st.none() | st.just("port"),
        from_group=st.none() | st.just("web"),
        to_port=st.none() | st.just("port"),
        to_group=st.none() | st.just("db"),
        match=MATCHES,
        packet=PACKETS,
        actions=actions(SELECTORS.map(lambda pair: FieldName(*pair)), NUMBERS, "port"),
        action=st.none() | st.sampled_from(PolicyAction),
    ),
    st.builds(
        CapabilitySpec,
        ovs_version=st.just("") | TEXTS,
        datapath=st.sampled_from(["", "system", "netdev"]),
        kernel=st.just("") | TEXTS,
        max_option_bytes=st.integers(0, 2**16),
        max_options=st.integers(0, 64),
        critical=st.booleans(),
        foreign=st.lists(MAPS, max_size=3, unique=True).map(told),
    ),
    st.builds(
        RolloutSpec,
        network=st.just("network"),
        schema=st.just("schema"),
        incoming=st.booleans(),
        stage=st.sampled_from(RolloutStage),
        reason=st.text(max_size=40),
    ),
    st.builds(RetiredSlotSpec, tlv_map=MAPS),
    st.builds(GroupSpec, identity=st.integers(1, 0xFFFF)),
    st.builds(
        PolicySpec,
        network=st.just("network"),
        to_group=st.sampled_from(["web", "db"]),
        from_group=st.none() | st.sampled_from(["web", "db"]),
        priority=st.integers(0, 10_000),
        protocol=st.none() | st.integers(0, 255),
        ports=PORT_RANGES,
        allow=st.booleans(),
        stateful=st.booleans(),
        log=st.booleans(),
    ),
)

ROWS = {
    (Kind.NETWORK, "network"): NETWORK,
    (Kind.HOST, "host"): HOST,
    (Kind.PORT, "port"): PORT,
    (Kind.OPTION_SCHEMA, "schema"): SCHEMA,
    (Kind.OPTION_SCHEMA, "other"): OTHER,
    (Kind.GROUP, "web"): WEB,
    (Kind.GROUP, "db"): DB,
}
KNOWN = {
    uuid: Object(kind=kind, name=name, key=uuid.int, spec=NetworkSpec())
    for (kind, name), uuid in ROWS.items()
}


def stored(columns):
    """Turn what is written into what a replica gives back: maps that cannot change, nothing else."""
    return {
        key: MappingProxyType(value) if isinstance(value, dict) else value for key, value in columns.items()
    }


@given(
    spec=SPECS,
    name=NAMES,
    key=st.integers(1, 2**22 - 1),
    revision=st.integers(0, 2**53),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_round_trip(spec, name, key, revision, labels):
    if isinstance(spec, OptionSchemaSpec):
        name = spec.layout.name
    if isinstance(spec, CapabilitySpec):
        name = "host"  # it has the name of what it tells of
    held = Object(
        kind=KINDS[type(spec)], name=name, key=key, spec=spec, revision=revision, labels=told(labels.items())
    )
    columns = encode_row(held, lambda kind, name: ROWS[kind, name])
    assert decode_row(held.kind, stored(columns), KNOWN) == held


def test_a_fabric_in_the_order_of_the_tables():
    intent = after(fabric(), Bind(port="web1", host="hv2"))
    rows = {(kind, name): uuid4() for kind in Kind for name in intent.objects(kind)}
    known = {}
    for kind in TABLES:
        for name, held in intent.objects(kind).items():
            columns = stored(encode_row(held, lambda kind, name: rows[kind, name]))
            known[rows[kind, name]] = decode_row(kind, columns, known)
            assert known[rows[kind, name]] == held


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("mac", 1),
        ("mac", "not a mac"),
        ("addresses", MappingProxyType({0: "10.0.0.256"})),
        ("network", UUID(int=99)),
        ("network", "blue"),
        ("values", MappingProxyType({"context.tier": "two"})),
        ("revision", "1"),
    ],
)
def test_a_damaged_row_is_told(column, value):
    intent = fabric()
    columns = stored(encode_row(intent.ports["web1"], lambda *_: NETWORK))
    known = {NETWORK: intent.networks["blue"]}
    assert decode_row(Kind.PORT, columns, known) == intent.ports["web1"]
    with pytest.raises(DecodeError, match="Port web1"):
        decode_row(Kind.PORT, {**columns, column: value}, known)


def test_rows_written_before_fields_had_names_are_read():
    intent = fabric()
    columns = stored(encode_row(intent.option_schemas["context"], lambda *_: SCHEMA))
    assert columns["fields"] == {0: "tier uint 0 8", 1: "zone uint 8 16"}
    old = {**columns, "fields": MappingProxyType({0: "marks flags 0 8"})}
    [marks] = decode_row(Kind.OPTION_SCHEMA, old, {}).spec.layout.fields
    assert marks == OptionField(name="marks", kind=FieldKind.FLAGS, offset=0, bits=8)
    for damaged in ("marks flags 0 8 urgent", "marks flags 0 8 urgent=x", "marks flags 0 8 urgent=8"):
        with pytest.raises(DecodeError, match="Option_Schema context"):
            decode_row(Kind.OPTION_SCHEMA, {**columns, "fields": MappingProxyType({0: damaged})}, {})
