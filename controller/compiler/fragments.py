# SPDX-License-Identifier: Apache-2.0
"""A fragment is what one object contributes to bridges; layers say which bridges.

Hosts that need the same flows share one layer, and so the same bytes: a network's layer is encoded once and held by
reference for each of its hosts. `except_host` leaves one host of the layer out (a port's own host does not send it
through the tunnel).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from controller.compiler.cookies import Feature, cookie
from controller.hoststate import EncodedFlow, EncodedGroup
from ovs_geneve.openflow.flow import Flow, GroupEntry
from ovs_geneve.openflow.stats import canonical_buckets
from ovs_geneve.openflow.template import GroupCommand, encode_flow_add, encode_group

_COOKIE = struct.Struct("!Q")
_COOKIE_OFFSET = 8


class LayerKind(Enum):
    """Which hosts hold a layer."""

    FABRIC = "all of them"
    NETWORK = "those with a port of the network"
    REMOTE = "those of them that have the same underlay families"
    HOST = "one"


class Layer(NamedTuple):
    """A set of fragments that the same hosts hold."""

    kind: LayerKind
    name: str = ""
    "The network or host."
    families: frozenset[int] = frozenset()
    "IP versions of the hosts' endpoints, for REMOTE."


FABRIC = Layer(LayerKind.FABRIC)


class FragmentId(NamedTuple):
    """Names a fragment within its layer."""

    feature: Feature
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What one object contributes to the hosts of one layer."""

    id: FragmentId
    flows: tuple[EncodedFlow, ...] = ()
    groups: tuple[EncodedGroup, ...] = ()
    except_host: str = ""


def seal_flow(flow: Flow, feature: Feature, object_key: int, salt: bytes = b"") -> EncodedFlow:
    """Encode a flow and give it the cookie that says what it does; `salt` is what its bytes do not show."""
    message = bytearray(encode_flow_add(flow))
    value = cookie(feature, object_key, bytes(message) + salt)
    _COOKIE.pack_into(message, _COOKIE_OFFSET, value)
    return EncodedFlow(flow.key, value, bytes(message))


def seal_flows(
    flows: Iterable[Flow], feature: Feature, object_key: int, salt: bytes = b""
) -> tuple[EncodedFlow, ...]:
    """Encode the flows of one object."""
    return tuple(seal_flow(flow, feature, object_key, salt) for flow in flows)


def seal_group(entry: GroupEntry) -> EncodedGroup:
    """Encode a group."""
    return EncodedGroup(
        entry.group_id, canonical_buckets(entry), encode_group(GroupCommand.ADD_OR_MODIFY, entry)
    )
