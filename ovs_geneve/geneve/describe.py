# SPDX-License-Identifier: Apache-2.0
"""A decoded Geneve packet in words: options by the names their layouts give them.

`describe` makes a frozen value with everything worth showing, `render_line` and `render_tree` make
text of it. Options that no layout given knows are named by the coexistence profiles; those nobody knows
are shown raw, and options of another length than their layout's are shown raw and reported. The text
holds nothing a peer can choose but numbers and addresses, so it is safe on a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.classes import owner
from ovs_geneve.geneve.fields import OptionField, OptionLayout, render_value
from ovs_geneve.geneve.header import ETHERNET_PAYLOAD
from ovs_geneve.geneve.inner import InnerSummary, summarise
from ovs_geneve.geneve.oddity import Oddity
from ovs_geneve.geneve.option import Option, OptionKey
from ovs_geneve.geneve.outer import LaterFragment, OuterPacket
from ovs_geneve.geneve.packet import Packet
from ovs_geneve.geneve.profiles import layout_of, lengths_of, options_of
from ovs_geneve.values import Vni

Layouts = Mapping[OptionKey, OptionLayout]

_ETHERTYPES = {ETHERNET_PAYLOAD: "Ethernet", 0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x88CC: "LLDP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReading:
    """The value of one field of an option."""

    field: OptionField
    value: int

    @property
    def name(self) -> str:
        """Return the name of the field."""
        return self.field.name

    @property
    def text(self) -> str:
        """Return the value as people write it: a number, a name, an address, hexadecimal digits."""
        return render_value(self.field, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionDescription:
    """One option, named and read when a layout fits it."""

    option: Option
    owner: str
    "Who owns the class."
    name: str | None = None
    "The layout's name, PROFILE:OPTION for one of a profile; None when neither has this class and type."
    fields: tuple[FieldReading, ...] = ()
    unclaimed: int = 0
    "The data as a number without the bits of any field: not 0 means bits that nobody declared."
    problem: str | None = None
    "Why the fields could not be read."


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Everything there is to say about one packet."""

    vni: Vni
    oam: bool
    critical: bool
    "What the options say; a C bit that disagrees is among the oddities."
    protocol_type: int
    options: tuple[OptionDescription, ...]
    oddities: tuple[Oddity, ...]
    payload_length: int
    inner: InnerSummary | None
    "None when the payload is neither Ethernet nor IP."
    outer: OuterPacket | None = None


def index_layouts(layouts: Iterable[OptionLayout]) -> dict[OptionKey, OptionLayout]:
    """Return the layouts by class and type; raise EncodeError when two claim the same."""
    index: dict[OptionKey, OptionLayout] = {}
    for layout in layouts:
        other = index.setdefault(layout.key, layout)
        if other is not layout:
            raise EncodeError(f"option {layout.name}", f"has class and type of {other.name}")
    return index


def describe(packet: Packet, layouts: Layouts, outer: OuterPacket | None = None) -> Description:
    """Say what `packet` is, naming its options after `layouts`."""
    return Description(
        vni=packet.header.vni,
        oam=packet.header.oam,
        critical=packet.critical,
        protocol_type=packet.header.protocol_type,
        options=tuple(describe_option(option, layouts) for option in packet.options),
        oddities=packet.oddities,
        payload_length=len(packet.payload),
        inner=summarise(packet.header.protocol_type, packet.payload),
        outer=outer,
    )


def describe_option(option: Option, layouts: Layouts) -> OptionDescription:
    """Read one option with the layout of its class and type, if there is one, else as a profile has it."""
    declared = layouts.get(option.key)
    layout = declared or layout_of(option.key, len(option.data))
    holder = owner(option.option_class)
    if layout is None or len(option.data) != layout.length:
        return _unread(option, holder, declared)
    values = layout.decode_values(option.data)
    return OptionDescription(
        option=option,
        owner=holder,
        name=layout.name,
        fields=tuple(FieldReading(field=field, value=values[field.name]) for field in layout.fields),
        unclaimed=layout.unclaimed(option.data),
    )


def _unread(option: Option, holder: str, declared: OptionLayout | None) -> OptionDescription:
    """Name an option whose data fit no layout, and say what length was to be expected."""
    known = options_of(option.key)
    if declared is None and not known:
        return OptionDescription(option=option, owner=holder)
    name, want = (declared.name, declared.length) if declared else (known[0].title, lengths_of(option.key))
    problem = f"{len(option.data)} bytes of data: want {want}"
    return OptionDescription(option=option, owner=holder, name=name, problem=problem)


def render_line(description: Description) -> str:
    """Return one line: outer, VNI, flags, options, inner, and after '!' what is wrong."""
    parts = [_endpoints(description.outer), f"vni {description.vni}"] if description.outer else []
    parts = parts or [f"vni {description.vni}"]
    parts += [f"[{flags}]"] if (flags := _flags(description)) else []
    parts += map(_option_word, description.options)
    parts += ["|", _payload_words(description)]
    problems = list(_problems(description))
    return " ".join(parts) + (f" ! {'; '.join(problems)}" if problems else "")


def render_tree(description: Description) -> str:
    """Return several lines, one a layer, an option or a field, indented under what they belong to."""
    lines = [_outer_line(description.outer)] if description.outer else []
    lines.append(_header_line(description))
    for index, option in enumerate(description.options):
        lines.append(f"  option {index}: {_option_title(option)}")
        lines += [f"    {line}" for line in _option_lines(option)]
    lines.append(f"  payload: {_payload_words(description)}")
    lines += [f"  ! {problem}" for problem in _problems(description)]
    return "\n".join(lines)


def render_fragment(later: LaterFragment) -> str:
    """Return one line about a piece of a datagram that cannot be read on its own."""
    piece = later.fragment
    return (
        f"{later.source} > {later.destination} UDP fragment at {piece.offset} "
        f"of datagram {piece.identification:#x}: its ports, and so whether it is Geneve, are in the first one"
    )


def _endpoints(outer: OuterPacket) -> str:
    source = _with_port(str(outer.source), outer.source_port)
    return f"{source} > {_with_port(str(outer.destination), outer.destination_port)}"


def _with_port(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _flags(description: Description) -> str:
    return " ".join(name for name, on in (("O", description.oam), ("C", description.critical)) if on)


def _key(option: Option) -> str:
    return f"{option.option_class:#06x}/{option.option_type:#04x}"


def _option_word(described: OptionDescription) -> str:
    option = described.option
    if described.name is not None and described.problem is None:
        inside = " ".join(f"{field.name}={field.text}" for field in described.fields)
        return f"{described.name}{{{inside or option.data.hex()}}}"
    title = described.name or f"{_key(option)}({described.owner})"
    return f"{title}{{{option.data.hex()}}}"


def _option_title(described: OptionDescription) -> str:
    option = described.option
    kind = "critical" if option.critical else "not critical"
    name = described.name or "unknown"
    return f"{name}, {_key(option)} ({described.owner}), {kind}, {len(option.data)} bytes"


def _option_lines(described: OptionDescription) -> Iterator[str]:
    for field in described.fields:
        yield f"{field.name} = {field.text}"
    if not described.fields and described.option.data:
        yield f"data = {described.option.data.hex()}"


def _outer_line(outer: OuterPacket) -> str:
    words = [_endpoints(outer), f"hop limit {outer.hop_limit}", f"traffic class {outer.traffic_class:#04x}"]
    words += ["DF"] if outer.dont_fragment else []
    words += [f"VLAN {tag & 0xFFF}" for tag in outer.vlans]
    words.append(f"UDP checksum {outer.udp_checksum:#06x}" if outer.udp_checksum else "no UDP checksum")
    return ", ".join(words)


def _header_line(description: Description) -> str:
    options = sum(described.option.wire_length for described in description.options)
    flags = _flags(description) or "none"
    return (
        f"Geneve vni {description.vni} ({description.vni:#x}), flags {flags}, "
        f"{options} bytes of options, {description.payload_length} of {_ethertype(description.protocol_type)}"
    )


def _ethertype(number: int) -> str:
    return _ETHERTYPES.get(number, f"{number:#06x}")


def _payload_words(description: Description) -> str:
    words = " ".join(_inner_words(description.inner)) if description.inner else ""
    return words or f"{_ethertype(description.protocol_type)}, {description.payload_length} bytes"


def _inner_words(inner: InnerSummary) -> Iterator[str]:
    if inner.source_mac is not None:
        yield f"{inner.source_mac} > {inner.destination_mac}"
    for vlan in inner.vlans:
        yield f"VLAN {vlan}"
    if inner.source is not None:
        source = _with_port(str(inner.source), inner.source_port)
        yield f"{source} > {_with_port(str(inner.destination), inner.destination_port)}"
    elif inner.source_mac is not None:
        yield _ethertype(inner.ethertype)
    if inner.detail:
        yield inner.detail


def _problems(description: Description) -> Iterator[str]:
    outer = description.outer
    if outer and outer.fragment:
        yield "first fragment of a datagram"
    if outer and outer.missing:
        yield f"{outer.missing} bytes of the datagram are missing"
    if outer and outer.surplus:
        yield f"{outer.surplus} bytes behind the datagram"
    yield from map(str, description.oddities)
    for index, described in enumerate(description.options):
        if described.problem:
            yield f"option {index} ({described.name}): {described.problem}"
        if described.unclaimed:
            digits = len(described.option.data) * 2
            yield f"option {index} ({described.name}): undeclared bits {described.unclaimed:0{digits}x}"
    yield from _inner_problems(description.inner)


def _inner_problems(inner: InnerSummary | None) -> Iterator[str]:
    if inner and inner.missing:
        yield f"{inner.missing} bytes of the inner packet are missing"
    if inner and inner.problem:
        yield f"payload: {inner.problem}"
