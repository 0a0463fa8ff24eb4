# SPDX-License-Identifier: Apache-2.0
"""All that a packet is to a bridge, headers and metadata, as one number of a couple of thousand bits. Pure.

A set of packets is a cube: which bits are known, and what they are. (Header space: Kazemian, Varghese, McKeown, NSDI
2012.) Python's integers do the rest: two cubes meet unless `(a ^ b) & known_a & known_b`.

Two rules keep cubes honest about options: each tun_metadata has one more bit that says whether it is there, and what is
not there is zero. A match on any of its bits asks for presence, as Open vSwitch does (lib/tun-metadata.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ovs_geneve.errors import OvsGeneveError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import FIELDS, Field, is_tun_metadata
from ovs_geneve.openflow.flow import Match, Term, TermLike

_REGISTER_BITS = 512


class Unprovable(OvsGeneveError):
    """Raised for flows that this checker does not understand: it then proves nothing, and says why."""


class Cube(NamedTuple):
    """A set of packets; `value` has no bit that is not `known`."""

    value: int
    known: int

    def meets(self, other: Cube) -> bool:
        """Tell whether a packet is in both."""
        return not (self.value ^ other.value) & self.known & other.known

    def within(self, other: Cube) -> bool:
        """Tell whether every packet of this one is in the other."""
        return not other.known & ~self.known and not (self.value ^ other.value) & other.known


EVERYTHING = Cube(0, 0)


class Place(NamedTuple):
    """Where the bits of a field are."""

    offset: int
    ones: int
    "A mask of as many bits as the field has, not shifted."

    @property
    def mask(self) -> int:
        """The field's bits, where they are."""
        return self.ones << self.offset


class Layout:
    """Where each field is in the number; `options` are the mapped ones, bytes by N of tun_metadataN."""

    def __init__(self, options: Mapping[int, int]) -> None:
        self._places: dict[Field, Place] = {}
        self._options = dict(options)
        self._end = 0
        self._registers = self._take(_REGISTER_BITS)
        for field in FIELDS:
            if field not in f.REGS + f.XREGS + f.XXREGS + (f.VLAN_TCI, f.VLAN_PCP):
                self._place(field)
        self._split_registers()
        self._split_tag()
        self._option_places = {
            index: Place(self._take(8 * length), (1 << 8 * length) - 1) for index, length in options.items()
        }
        self._presence = {index: 1 << self._take(1) for index in options}
        self.everything = (1 << self._end) - 1
        self.headers = self.mask_of(_HEADERS)
        self.options = sum(place.mask for place in self._option_places.values())
        self.presence = sum(self._presence.values())

    def at(self, field: Field) -> Place:
        """Return where a field is; Unprovable for an option that is not mapped at that length."""
        place = self._places.get(field)
        if place is None:
            return self._option(field)
        return place

    def present(self, field: Field) -> int:
        """Return the bit that says whether an option is there; 0 for other fields."""
        if not is_tun_metadata(field):
            return 0
        self.at(field)
        return self._presence[_index(field)]

    def fields(self) -> Iterator[Field]:
        """Yield every field that packets have here."""
        yield from self._places
        for index, length in self._options.items():
            yield f.tun_metadata(index, length)

    def option_masks(self) -> Iterator[tuple[int, int, int]]:
        """Yield N, the bits and the presence bit of each mapped option."""
        for index, place in self._option_places.items():
            yield index, place.mask, self._presence[index]

    def option_place(self, index: int) -> Place:
        """Return where the data of tun_metadataN are."""
        return self._option_places[index]

    def mask_of(self, some: Iterable[Field]) -> int:
        """Return the bits of some fields."""
        mask = 0
        for field in some:
            mask |= self.at(field).mask
        return mask

    def cube(self, *terms: TermLike) -> Cube:
        """Return the packets that have these values."""
        value = known = 0
        for term in terms:
            field, wanted, mask = Term(*term)
            offset, ones = self.at(field)
            present = self.present(field)
            value |= wanted << offset | present
            known |= (ones if mask is None else mask) << offset | present
        return Cube(value, known)

    def match(self, match: Match) -> Cube:
        """Return the packets of a flow."""
        return self.cube(*match.terms)

    def read(self, value: int, field: Field) -> int:
        """Return what a field is in a number."""
        offset, ones = self.at(field)
        return value >> offset & ones

    def _take(self, bits: int) -> int:
        self._end += bits
        return self._end - bits

    def _place(self, field: Field) -> None:
        self._places[field] = Place(self._take(field.bits), field.ones)

    def _split_registers(self) -> None:
        # xxreg0 is reg0 to reg3 with reg0 the most significant, xreg0 is reg0 and reg1 (meta-flow.xml).
        for bits, fields in ((32, f.REGS), (64, f.XREGS), (128, f.XXREGS)):
            in_one = 128 // bits
            for number, field in enumerate(fields):
                block = self._registers + 128 * (number // in_one)
                self._places[field] = Place(block + bits * (in_one - 1 - number % in_one), field.ones)

    def _split_tag(self) -> None:
        vid = self._places[f.VLAN_VID]
        pcp = self._take(f.VLAN_PCP.bits)
        self._places[f.VLAN_PCP] = Place(pcp, f.VLAN_PCP.ones)
        # vlan_tci is never matched as such: Match writes it as vlan_vid and vlan_pcp.
        assert vid.ones == (1 << 13) - 1

    def _option(self, field: Field) -> Place:
        if not is_tun_metadata(field):
            raise Unprovable(f"{field.name} is not known here")
        index = _index(field)
        if self._options.get(index) != field.width:
            mapped = self._options.get(index, "nothing")
            raise Unprovable(f"{field.name} is used with {field.width} bytes, mapped is {mapped}")
        return self._option_places[index]


def _index(field: Field) -> int:
    return int(field.name.removeprefix("tun_metadata"))


_HEADERS = tuple(
    field for field in FIELDS if f.ETH_SRC.rank <= field.rank <= f.ARP_THA.rank and field is not f.VLAN_TCI
)
"What the sender of a packet writes; all else is the bridge's."
