# SPDX-License-Identifier: Apache-2.0
"""Bytes that differ in a few numbers only: what is fixed is kept in pieces, and joined around the numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import shake_128
from struct import Struct

from ovs_geneve.errors import EncodeError

Numbers = Sequence[int]

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}

_ATTEMPTS = 4
"A number of four bytes may turn up by chance where it does not belong; another one will not."


@dataclass(frozen=True, slots=True)
class Pieces:
    """Bytes of one shape: fixed pieces around a few numbers, all joined by one `Struct.pack`."""

    fixed: tuple[bytes, ...]
    widths: tuple[int, ...]
    "Bytes of each number."
    order: tuple[int, ...]
    "Which of the fixed pieces and, counted on behind them, of the numbers follow each other."
    fill: Callable[[Numbers], bytes]
    """Joins the pieces around these numbers. Raises TypeError for another count of numbers, struct.error or
    OverflowError for one that does not fit."""

    @classmethod
    def of(cls, fixed: Sequence[bytes], widths: Sequence[int], order: Sequence[int]) -> Pieces:
        """Prepare the joining."""
        return cls(tuple(fixed), tuple(widths), tuple(order), _filler(tuple(fixed), widths, order))

    @classmethod
    def cut(cls, data: bytes, places: Sequence[tuple[int, int]]) -> Pieces:
        """Leave out of an example what is at the numbers' places, each given as where it begins and how long it is.

        Raises EncodeError for places that overlap.
        """
        fixed, order, position = list[bytes](), list[int](), 0
        for number in sorted(range(len(places)), key=lambda number: places[number]):
            start, width = places[number]
            if start < position:
                raise EncodeError("template", f"bytes {start} to {position} are given twice")
            fixed.append(data[position:start])
            order += (len(fixed) - 1, len(places) + 1 + number)
            position = start + width
        fixed.append(data[position:])
        order.append(len(fixed) - 1)
        return cls.of(fixed, [width for _, width in places], order)

    @classmethod
    def learnt(cls, make: Callable[[Numbers], bytes], widths: Sequence[int]) -> Pieces:
        """Learn a shape from what makes it; `widths` are the bytes of its numbers, in the order it takes them.

        What that looks like is tried out with further numbers, the least and the greatest among them. Raises
        EncodeError where it is not fixed pieces around the numbers.
        """
        for attempt in range(_ATTEMPTS):
            numbers = [_probe(attempt, place, width) for place, width in enumerate(widths)]
            pieces = cls._found(make(numbers), numbers, tuple(widths))
            if pieces._hold(make, attempt):
                return pieces
        raise EncodeError("template", f"{make} does not put its numbers between fixed pieces")

    @classmethod
    def _found(cls, data: bytes, numbers: Numbers, widths: tuple[int, ...]) -> Pieces:
        places = {
            number.to_bytes(width): place
            for place, (number, width) in enumerate(zip(numbers, widths, strict=True))
            if width
        }
        # Longer ones first: a short one may be part of a long one by chance.
        patterns = sorted(map(re.escape, places), key=len, reverse=True)
        pattern = b"(" + b"|".join(patterns) + b")"
        parts = re.split(pattern, data, flags=re.DOTALL) if patterns else [data]
        fixed = tuple(parts[0::2])
        order = [at // 2 if at % 2 == 0 else len(fixed) + places[part] for at, part in enumerate(parts)]
        return cls.of(fixed, widths, order)

    def _hold(self, make: Callable[[Numbers], bytes], attempt: int) -> bool:
        least = [0] * len(self.widths)
        most = [(1 << 8 * width) - 1 for width in self.widths]
        others = [_probe(attempt + _ATTEMPTS, place, width) for place, width in enumerate(self.widths)]
        return all(self.fill(numbers) == make(numbers) for numbers in (least, most, others))


def _filler(
    fixed: tuple[bytes, ...], widths: Sequence[int], order: Sequence[int]
) -> Callable[[Numbers], bytes]:
    """Write the function that packs pieces and numbers in their order.

    Every flow of every port passes here. Written out, as namedtuple writes its own, each value is at its place at
    once; arranging them first takes twice as long.
    """
    sizes = [f"{len(piece)}s" for piece in fixed] + [_CODES.get(width, f"{width}s") for width in widths]
    pack = Struct("!" + "".join([sizes[place] for place in order])).pack
    names = [f"fixed{place}" for place in range(len(fixed))]
    numbers = [
        f"numbers[{number}]" if width in _CODES else f"numbers[{number}].to_bytes({width})"
        for number, width in enumerate(widths)
    ]
    values = ", ".join([(names + numbers)[place] for place in order])
    source = (
        f"lambda pack, refuse, {', '.join(names)}: lambda numbers: "
        f"pack({values}) if len(numbers) == {len(widths)} else refuse(numbers)"
    )

    def refuse(numbers: Numbers) -> bytes:
        raise TypeError(f"{len(numbers)} numbers: want {len(widths)}")

    made: Callable[..., Callable[[Numbers], bytes]] = eval(source)  # nothing of it comes from outside
    return made(pack, refuse, *fixed)


def _probe(attempt: int, place: int, width: int) -> int:
    """Return a number that is not likely to be anywhere else."""
    return int.from_bytes(shake_128(b"%d %d" % (attempt, place)).digest(width))
