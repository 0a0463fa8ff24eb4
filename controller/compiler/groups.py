# SPDX-License-Identifier: Apache-2.0
"""Numbers of OpenFlow groups: owner, object key and what the group is for, so that no table of them is kept."""

from __future__ import annotations

from enum import IntEnum

_OWNER = 0x6E << 24


class GroupPurpose(IntEnum):
    """What a network's group does with a packet."""

    REMOTE = 0
    "One copy to every other host of the network."
    LOCAL = 1
    "One copy to every port of the network on this host."


def group_id(network_key: int, purpose: GroupPurpose) -> int:
    """Return the group of a network (by object key) for a purpose."""
    return _OWNER | network_key << 1 | purpose


def is_ours(group: int) -> bool:
    """Tell whether a group is the controller's: groups have no cookie, so their number says it."""
    return group >> 24 == _OWNER >> 24


def network_key_of(group: int) -> int:
    """Return the object key of the network that a group of ours serves."""
    return (group & 0xFFFFFF) >> 1
