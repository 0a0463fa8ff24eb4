# SPDX-License-Identifier: Apache-2.0
"""Ranges of ports as values with masks, which is how a flow matches them. Pure.

443        443/0xffff
8000-8100  8000/0xffc0 8064/0xffe0 8096/0xfffc 8100/0xffff
1024-65535 1024/0xfc00 2048/0xf800 4096/0xf000 8192/0xe000 16384/0xc000 32768/0x8000
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from controller.intent.rules import PortRange

_ALL = 0x10000


class PortMask(NamedTuple):
    """The ports for which (port & mask) == value; a mask of 0 is all of them."""

    value: int
    mask: int


ANY_PORT = PortMask(0, 0)


@lru_cache(maxsize=4_096)
def port_masks(ranges: tuple[PortRange, ...]) -> tuple[PortMask, ...]:
    """Return the fewest prefixes that hold exactly these ports, upwards and none in two; no ranges are all ports.

    A prefix and not any mask, so that OVS needs to look only at the bits that tell ports apart (the tries of ports in
    its lib/classifier.c).
    """
    if not ranges:
        return (ANY_PORT,)
    return tuple(mask for one in joined(ranges) for mask in _prefixes(one))


def joined(ranges: Iterable[PortRange]) -> Iterator[PortRange]:
    """Yield the same ports, of which there are some, as ranges that neither overlap nor touch."""
    first, last = -1, -2
    for one in sorted(ranges):
        if one.first > last + 1:
            if first >= 0:
                yield PortRange(first, last)
            first = one.first
        last = max(last, one.last)
    yield PortRange(first, last)


def _prefixes(ports: PortRange) -> Iterator[PortMask]:
    first = ports.first
    while first <= ports.last:
        # The largest block that begins here and goes no further than the range.
        size = first & -first or _ALL
        while first + size - 1 > ports.last:
            size >>= 1
        yield PortMask(first, _ALL - size)
        first += size
