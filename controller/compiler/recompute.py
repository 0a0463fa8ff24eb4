# SPDX-License-Identifier: Apache-2.0
"""Checks a running compiler: everything compiled from nothing, and what of it the compiler keeps otherwise. Pure.

A snapshot shares what it holds and changes no more, so the check can take its time in another thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.compiler.fragments import Fragment, FragmentId, Layer
from controller.intent.intent import Intent
from ovs_geneve.openflow.tlv_table import TlvMap

Fragments = Mapping[FragmentId, Fragment]

_NONE: Fragments = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a compiler was told, and all that it keeps, at one moment."""

    intent: Intent
    ofports: Mapping[str, Mapping[str, int]]
    served: frozenset[str] | None
    layers: Mapping[Layer, Fragments]
    "Of those layers that a host holds."
    layers_of: Mapping[str, frozenset[Layer]]
    tlv_maps: frozenset[TlvMap]
    released: frozenset[TlvMap]


class Fault(StrEnum):
    """What is wrong with a fragment, a host's layers or the TLV map."""

    MISSING = "missing"
    STALE = "stale"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Something that is not as compiling from nothing makes it: an error of the compiler."""

    fault: Fault
    what: str
    "Which fragment of which layer, or which host."
    hosts: tuple[str, ...]
    "Those that hold it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """What came of compiling everything from nothing."""

    revision: int
    "The intent's, as it was when the check began."
    hosts: int
    parts: int
    "That were compiled."
    disagreements: tuple[Disagreement, ...]


def compare(kept: Snapshot, fresh: Snapshot) -> Iterator[Disagreement]:
    """Yield where what is kept differs from what was compiled from nothing."""
    everyone = tuple(sorted(kept.layers_of.keys() | fresh.layers_of.keys()))
    if (kept.tlv_maps, kept.released) != (fresh.tlv_maps, fresh.released):
        yield Disagreement(fault=Fault.DIFFERENT, what="TLV map", hosts=everyone)
    for host in everyone:
        if kept.layers_of.get(host) != fresh.layers_of.get(host):
            yield Disagreement(fault=Fault.DIFFERENT, what="layers", hosts=(host,))
    for layer in kept.layers.keys() | fresh.layers.keys():
        ours, theirs = kept.layers.get(layer, _NONE), fresh.layers.get(layer, _NONE)
        if ours != theirs:
            hosts = tuple(host for host in everyone if layer in kept.layers_of.get(host, ()))
            yield from _differences(layer, ours, theirs, hosts)


def _differences(
    layer: Layer, kept: Fragments, fresh: Fragments, hosts: tuple[str, ...]
) -> Iterator[Disagreement]:
    for fragment_id in sorted(kept.keys() | fresh.keys(), key=repr):
        ours, theirs = kept.get(fragment_id), fresh.get(fragment_id)
        if ours != theirs:
            fault = Fault.MISSING if ours is None else Fault.STALE if theirs is None else Fault.DIFFERENT
            what = f"{fragment_id.feature.name.lower()} {fragment_id.name} of {layer.kind.name.lower()} {layer.name}"
            yield Disagreement(fault=fault, what=what.rstrip(), hosts=hosts)
