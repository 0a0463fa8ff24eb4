# SPDX-License-Identifier: Apache-2.0
"""A fragment is what one object contributes to bridges; layers say which bridges.

Hosts that need the same flows share one layer, and so the same bytes: a network's layer is encoded once and held by
reference for each of its hosts. `except_host` leaves one host of the layer out (a port's own host does not send it
through the tunnel).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from controller.compiler.cookies import Feature
from controller.compiler.groups import GroupPurpose
from controller.hoststate import EncodedFlow, EncodedGroup, flows_of
from ovs_geneve.openflow.bundle import Block

NO_FLOWS = Block(b"", ())


class LayerKind(StrEnum):
    """Which hosts hold a layer."""

    FABRIC = "all of them"
    NETWORK = "those with a port of the network"
    REMOTE = "those of them that have the same underlay families"
    RECEIVE = "those that do the same with the O bit of what arrives"
    HOST = "one"


class Layer(NamedTuple):
    """A set of fragments that the same hosts hold."""

    kind: LayerKind
    name: str = ""
    "The network or host."
    families: frozenset[int] = frozenset()
    "IP versions of the hosts' endpoints, for REMOTE."


FABRIC = Layer(LayerKind.FABRIC)
OAM_ENDS = Layer(LayerKind.RECEIVE, "OAM packets end")
OAM_TAKEN = Layer(LayerKind.RECEIVE, "OAM packets are taken like others")


@lru_cache(maxsize=65_536)
def shared_layer(kind: LayerKind, name: str, families: frozenset[int] = frozenset()) -> Layer:
    """Return a layer, the same object every time: a hundred thousand fragments name it."""
    return Layer(kind, name, families)


class FragmentId(NamedTuple):
    """Names a fragment within its layer."""

    feature: Feature
    name: str
    purpose: GroupPurpose | None = None
    "Of a network's groups."


class Fragment(NamedTuple):
    """What one object contributes to the hosts of one layer."""

    id: FragmentId
    block: Block = NO_FLOWS
    groups: tuple[EncodedGroup, ...] = ()
    except_host: str = ""

    @property
    def flows(self) -> Iterator[EncodedFlow]:
        """Take the block apart; whoever needs no single flow does not pay for it."""
        return flows_of(self.block)
