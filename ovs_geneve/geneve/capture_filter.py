# SPDX-License-Identifier: Apache-2.0
"""pcap filters (pcap-filter(7), for tcpdump) that look into the options of GENEVE packets.

BPF has no loops, but needs none here: OVS writes the options of a packet in the order of their slots
(lib/tun-metadata.c: tun_metadata_to_geneve__), every packet of a network carries all of them, and their lengths
never change. So each option of a network is at an offset known beforehand. A packet whose options have another total
length is not selected: it is of no sender of ours. libpcap reads `udp[…]` over IPv4 only; over IPv6 the offsets
count from the IP header, and packets with extension headers are not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.fields import OptionLayout, parse_match
from ovs_geneve.geneve.header import HEADER_LENGTH
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.values import Vni

_UDP_LENGTH = 8
_IPV6_LENGTH = 40

_ALL = 0xFFFFFFFF

_SAME_OPTION = 0xFFFFFF1F
"Class, type and length of an option header, without the bits that receivers ignore."

_VNI = 0xFFFFFF00


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionCondition:
    """A field of an option that must have a value."""

    schema: str
    field: str
    text: str
    "VALUE or VALUE/MASK, as in a policy."


@dataclass(frozen=True, slots=True)
class _Word:
    """Four bytes at an offset from the GENEVE header that must hold a value."""

    offset: int
    value: int
    mask: int = _ALL


def parse_condition(text: str) -> OptionCondition:
    """Read SCHEMA.FIELD=VALUE[/MASK]; raise EncodeError when it is none."""
    selector, equals, value = text.partition("=")
    schema, dot, field = selector.rpartition(".")
    if not (equals and dot and schema and field and value):
        raise EncodeError(f"condition {text!r}", "want SCHEMA.FIELD=VALUE or SCHEMA.FIELD=VALUE/MASK")
    return OptionCondition(schema=schema, field=field, text=value)


def capture_filter(
    port: int, vni: Vni | None, carried: Sequence[OptionLayout], conditions: Sequence[OptionCondition]
) -> str:
    """Return the filter for packets of a network whose options, in the order of their slots, are `carried`."""
    words = list(_words(vni, carried, conditions))
    total = sum(OPTION_HEADER_LENGTH + layout.length for layout in carried)
    if not words:
        return f"udp dst port {port}"
    families = (("ip", "udp", _UDP_LENGTH), ("ip6", "ip6", _IPV6_LENGTH + _UDP_LENGTH))
    parts = []
    for family, base, start in families:
        tests = [family, f"udp dst port {port}"]
        # The first byte is version, which is 0, and the length of the options.
        tests += [f"{base}[{start}] = {total // 4}"] if conditions else []
        tests += [_test(base, start, word) for word in words]
        parts.append(f"({' and '.join(tests)})")
    return " or ".join(parts)


def _words(
    vni: Vni | None, carried: Sequence[OptionLayout], conditions: Sequence[OptionCondition]
) -> Iterator[_Word]:
    if vni is not None:
        yield _Word(4, vni << 8, _VNI)
    for condition in conditions:
        offset = HEADER_LENGTH
        for layout in carried:
            if layout.name == condition.schema:
                yield from _option_words(layout, offset, condition)
                break
            offset += OPTION_HEADER_LENGTH + layout.length
        else:
            names = ", ".join(layout.name for layout in carried) or "none"
            raise EncodeError(f"option {condition.schema}", f"is not among those carried: {names}")


def _option_words(layout: OptionLayout, offset: int, condition: OptionCondition) -> Iterator[_Word]:
    header = layout.option_class << 16 | layout.option_type << 8 | layout.length // 4
    yield _Word(offset, header, _SAME_OPTION)
    value, mask = layout.match_bits(
        condition.field, *parse_match(layout.field(condition.field), condition.text)
    )
    for at in range(0, layout.length, 4):
        shift = (layout.length - 4 - at) * 8
        if care := mask >> shift & _ALL:
            yield _Word(offset + OPTION_HEADER_LENGTH + at, value >> shift & _ALL, care)


def _test(base: str, start: int, word: _Word) -> str:
    place = f"{base}[{start + word.offset}:4]"
    care = "" if word.mask == _ALL else f" & {word.mask:#010x}"
    return f"{place}{care} = {word.value:#010x}"
