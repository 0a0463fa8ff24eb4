# SPDX-License-Identifier: Apache-2.0
"""Groups put together from buckets that were encoded once: a host's bucket is the same in every group. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.compiler.features import flood
from controller.compiler.groups import GroupPurpose, group_id
from controller.hoststate import EncodedGroup
from controller.intent.model import Address
from ovs_geneve.openflow.flow import Bucket, GroupEntry, GroupKind
from ovs_geneve.openflow.pieces import Numbers, Pieces
from ovs_geneve.openflow.stats import canonical_buckets
from ovs_geneve.openflow.template import GroupCommand, encode_buckets, encode_group_of

_KEY = 4
"Bytes of an object key in a bucket, and of a group's identity."


class EncodedBucket(NamedTuple):
    """A bucket of a group of kind ALL."""

    content: bytes
    "In the form in which a switch's buckets are compared."
    wire: bytes


def to_host(host_key: int, endpoint: Address) -> EncodedBucket:
    """Return the bucket that copies a packet to a host."""
    return _encoded(flood.to_host(host_key, endpoint))


def to_port(port_key: int, group: int) -> EncodedBucket:
    """Return the bucket that copies a packet to a port of this host."""
    numbers = port_key, group
    return EncodedBucket(_PORT_CONTENT.fill(numbers), _PORT_WIRE.fill(numbers))


def seal_group(network_key: int, purpose: GroupPurpose, buckets: Sequence[EncodedBucket]) -> EncodedGroup:
    """Encode a group; raise EncodeError when it has more buckets than a message can carry."""
    number = group_id(network_key, purpose)
    content = b"".join([bucket.content for bucket in buckets])
    wire = b"".join([bucket.wire for bucket in buckets])
    message = encode_group_of(GroupCommand.ADD_OR_MODIFY, GroupKind.ALL, number, wire)
    return EncodedGroup(number, content, message)


def _encoded(bucket: Bucket) -> EncodedBucket:
    alone = GroupEntry(group_id=0, kind=GroupKind.ALL, buckets=(bucket,))
    return EncodedBucket(canonical_buckets(alone), encode_buckets(alone))


def _content_to_port(numbers: Numbers) -> bytes:
    return _encoded(flood.to_port(*numbers)).content


def _wire_to_port(numbers: Numbers) -> bytes:
    return _encoded(flood.to_port(*numbers)).wire


_PORT_CONTENT = Pieces.learnt(_content_to_port, (_KEY, _KEY))
_PORT_WIRE = Pieces.learnt(_wire_to_port, (_KEY, _KEY))
