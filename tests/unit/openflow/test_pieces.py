# SPDX-License-Identifier: Apache-2.0
"""Fixed bytes around numbers: cut from an example or learnt from a function, they write what that writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.pieces import Numbers, Pieces

WIDTHS = (1, 2, 3, 4, 6, 8, 16)


def written(numbers: Numbers) -> bytes:
    """Every number once, backwards, and the first one again."""
    data = [number.to_bytes(width) for number, width in zip(numbers, WIDTHS, strict=True)]
    return b"begin" + b"|".join(reversed(data)) + data[-1] + b"end"


@given(st.tuples(*(st.integers(0, (1 << 8 * width) - 1) for width in WIDTHS)))
def test_what_was_learnt_writes_any_numbers(numbers: tuple[int, ...]) -> None:
    assert Pieces.learnt(written, WIDTHS).fill(numbers) == written(numbers)


def test_what_was_cut_takes_the_numbers_in_the_order_of_their_places_as_given() -> None:
    pieces = Pieces.cut(b"abcdefghij", [(6, 3), (1, 2)])
    assert pieces.fill([0x585858, 0x5959]) == b"aYYdefXXXj"


def test_no_numbers_at_all() -> None:
    assert Pieces.cut(b"abc", []).fill([]) == b"abc"


@pytest.mark.parametrize("numbers", [(), (1,), (1, 2, 3)])
def test_another_count_of_numbers_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="want 2"):
        Pieces.cut(b"abcdefghij", [(6, 3), (1, 2)]).fill(numbers)


def test_places_that_overlap_are_refused() -> None:
    with pytest.raises(EncodeError):
        Pieces.cut(b"abcdefghij", [(1, 4), (3, 2)])


def test_a_function_that_reckons_with_its_numbers_is_refused() -> None:
    with pytest.raises(EncodeError):
        Pieces.learnt(lambda numbers: (numbers[0] // 2).to_bytes(4), (4,))
