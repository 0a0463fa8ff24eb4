# SPDX-License-Identifier: Apache-2.0
"""A flow's cookie says whose it is, what it is for, which object caused it and what it does.

     63      56 55     50 49                    28 27                          0
    ┌──────────┬─────────┬────────────────────────┬─────────────────────────────┐
    │ owner    │ feature │ object key             │ content hash                │
    └──────────┴─────────┴────────────────────────┴─────────────────────────────┘

Two flows with the same match and the same cookie do the same, so comparing a switch with what is desired decodes no
actions (which OVS rewrites).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

OWNER = 0x6E
OWNER_COOKIE = OWNER << 56
OWNER_MASK = 0xFF << 56

_HASH_BITS = 28
_KEY_SHIFT = 28
_FEATURE_SHIFT = 50


class Feature(IntEnum):
    """What a flow is for; the number is in cookies, so it is never used again for something else."""

    PIPELINE = 1
    "The last flow of every table and what else is the same on every host."
    TUNNEL = 2
    "A host's own tunnel endpoints."
    PEER = 3
    "Another host whose packets are accepted."
    FLOOD = 4
    "Broadcast, multicast and unknown unicast of a network."
    NEIGHBOURS = 5
    "ARP and ND answers for a port."
    REMOTE = 6
    "The way to a port on another host."
    LOCAL = 7
    "A port on this host."
    POLICY = 8
    "An option policy."
    POLICY_DEFAULT = 9
    "What no policy allows."
    DIRECT = 16
    "The way to a port that packets are mirrored to or steered through."
    SERVICE = 17
    "What a port passes on that packets are steered through."
    TARGET = 19
    "A host behind a gateway load balancer."
    FIREWALL = 20
    "Options that a network does not carry."
    GROUP_POLICY = 21
    "A policy between groups."
    PORT_GROUP = 22
    "What a group of ports has in a network beside them."
    ARRIVAL = 24
    "Options on their way into a network."


class CookieParts(NamedTuple):
    """A cookie taken apart."""

    owner: int
    feature: int
    object_key: int
    content: int


def cookie(feature: Feature, object_key: int, content: bytes, salt: bytes = b"") -> int:
    """Build the cookie of a flow whose encoded form, with cookie 0, is `content`; `salt` is what that does not show."""
    return cause(feature, object_key) | digest(content, crc32(salt))


def cause(feature: Feature, object_key: int) -> int:
    """Return the part of a cookie that all flows of an object's feature share."""
    return OWNER_COOKIE | feature << _FEATURE_SHIFT | object_key << _KEY_SHIFT


CAUSE_MASK = ~((1 << _KEY_SHIFT) - 1) & 0xFFFF_FFFF_FFFF_FFFF
"What flows with the same `cause` have in common."


def digest(content: bytes | memoryview, seed: int) -> int:
    """Return the content hash; `seed` is the CRC-32 of the salt.

    A checksum is enough: it tells an object's former flow from its present one, and nobody gains by a collision.
    """
    return crc32(content, seed) >> 32 - _HASH_BITS


def parse(value: int) -> CookieParts:
    """Take a cookie apart."""
    return CookieParts(
        owner=value >> 56,
        feature=value >> _FEATURE_SHIFT & 0x3F,
        object_key=value >> _KEY_SHIFT & 0x3FFFFF,
        content=value & (1 << _HASH_BITS) - 1,
    )


def is_ours(value: int) -> bool:
    """Tell whether a flow with this cookie is the controller's."""
    return value & OWNER_MASK == OWNER_COOKIE
