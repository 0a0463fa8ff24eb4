# SPDX-License-Identifier: Apache-2.0
"""The values that probes give options, and what differs where they arrive. Pure.

Two patterns, each the other's complement: over a run every bit of every option was carried as 0 and as 1. They differ
from option to option, so that data in the wrong slot are told from data that were changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b

from controller.prober.model import Carried, OptionResult, Sighting, Target
from ovs_geneve.geneve.fields import OptionLayout, render_value
from ovs_geneve.geneve.probe import Pattern

_DIGEST = 64


def options_of(target: Target, pattern: Pattern) -> tuple[Carried, ...]:
    """Return the options that probes of a pattern carry."""
    return () if pattern is Pattern.BARE else target.options


def data_of(carried: Carried, pattern: Pattern) -> bytes:
    """Return what probes of a pattern set an option to."""
    layout = carried.layout
    value = _value(int(layout.option_class), int(layout.option_type), layout.length)
    return value if pattern is Pattern.VALUE else bytes([byte ^ 0xFF for byte in value])


@cache
def _value(option_class: int, option_type: int, length: int) -> bytes:
    """Return bytes that look random and are the same for ever, other ones for each class and type."""
    seed = option_class.to_bytes(2) + option_type.to_bytes(1)
    blocks = [
        blake2b(seed + bytes([number]), digest_size=_DIGEST).digest()
        for number in range(length // _DIGEST + 1)
    ]
    return b"".join(blocks)[:length]


def compare(
    target: Target, pattern: Pattern, sighting: Sighting, where: str
) -> tuple[tuple[OptionResult, ...], str]:
    """Compare options with what was sent, field by field; say of each how it arrived, and what came besides."""
    expected = options_of(target, pattern)
    if {carried.slot: data_of(carried, pattern) for carried in expected} == sighting.options:
        return tuple([OptionResult(option=carried.name, verified=True) for carried in expected]), ""
    results = tuple([_compared(carried, pattern, sighting, where) for carried in expected])
    return results, _unexpected(expected, pattern, sighting, where)


def _compared(carried: Carried, pattern: Pattern, sighting: Sighting, where: str) -> OptionResult:
    problem = _problem(carried, data_of(carried, pattern), sighting, where)
    return OptionResult(option=carried.name, verified=not problem, problem=problem)


def _problem(carried: Carried, want: bytes, sighting: Sighting, where: str) -> str:
    got = sighting.options.get(carried.slot)
    if got == want:
        return ""
    elsewhere = [slot for slot, data in sighting.options.items() if data == want and slot != carried.slot]
    if elsewhere:
        return (
            f"arrives in tun_metadata{elsewhere[0]}, want tun_metadata{carried.slot}: "
            f"the TLV map of {where} is not ours"
        )
    if got is None:
        return f"not seen at {where}: its TLV map, or that of the sender, lacks tun_metadata{carried.slot}"
    if len(got) != len(want):
        return f"{len(got)} bytes in tun_metadata{carried.slot} at {where}: want {len(want)}"
    return f"at {where} " + ", ".join(_fields(carried.layout, want, got))


def _fields(layout: OptionLayout, want: bytes, got: bytes) -> Iterator[str]:
    wanted, gotten = layout.decode_values(want), layout.decode_values(got)
    for field in layout.fields:
        if wanted[field.name] != gotten[field.name]:
            texts = (render_value(field, values[field.name]) for values in (wanted, gotten))
            yield f"{field.name}: want %s, got %s" % tuple(texts)
    if layout.unclaimed(want) != layout.unclaimed(got):
        yield f"bits of no field: want {layout.unclaimed(want):#x}, got {layout.unclaimed(got):#x}"


def _unexpected(expected: tuple[Carried, ...], pattern: Pattern, sighting: Sighting, where: str) -> str:
    slots = {carried.slot for carried in expected}
    sent = {data_of(carried, pattern) for carried in expected}
    surplus = [
        f"tun_metadata{slot} ({len(data)} bytes)"
        for slot, data in sorted(sighting.options.items())
        if slot not in slots and data not in sent  # one in the wrong slot has been told of
    ]
    return f"options arrive at {where} that were not sent: {', '.join(surplus)}" if surplus else ""
