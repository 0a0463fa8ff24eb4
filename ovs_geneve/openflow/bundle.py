# SPDX-License-Identifier: Apache-2.0
"""Bundles: messages that a switch collects and then carries out all at once (OpenFlow 1.5.1 section 7.3.9).

An add that the switch refuses is left out and does *not* poison the bundle: a later commit installs the
rest. So a barrier goes before the commit, and one error before its reply means discard. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.messages import HEADER_LENGTH, MAX_LENGTH, VERSION, MessageType, encode_message

_CONTROL = Struct("!IHH")
_ADD = Struct("!BBHII2xH4sI")
"The wrapper, and of the message's own header all but the xid ('4s' takes the first four bytes of it), then that."
ADD_OVERHEAD = _ADD.size - HEADER_LENGTH
"Bytes that OFPT_BUNDLE_ADD_MESSAGE puts before the message it carries."


class BundleControl(IntEnum):
    """The type of an OFPT_BUNDLE_CONTROL message (enum ofp_bundle_ctrl_type)."""

    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


class BundleFlags(IntFlag):
    """How a bundle is carried out; open, adds and commit must say the same (enum ofp_bundle_flags)."""

    ATOMIC = 1
    "All or nothing, and no packet sees half of it."
    ORDERED = 2
    "In the order of the adds."


ATOMIC_ORDERED = BundleFlags.ATOMIC | BundleFlags.ORDERED


class BundleReply(NamedTuple):
    """A decoded OFPT_BUNDLE_CONTROL message."""

    bundle_id: int
    control: int
    flags: int


def encode_bundle_open(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the opening of a bundle; its identifier is the connection's own."""
    return _encode_control(BundleControl.OPEN_REQUEST, bundle_id, flags, xid)


def encode_bundle_commit(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the commit; the bundle is gone afterwards, even where it fails (OVS `do_bundle_commit`)."""
    return _encode_control(BundleControl.COMMIT_REQUEST, bundle_id, flags, xid)


def encode_bundle_discard(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the discarding of a bundle and all it holds."""
    return _encode_control(BundleControl.DISCARD_REQUEST, bundle_id, flags, xid)


def encode_bundle_adds(
    bundle_id: int, flags: BundleFlags, messages: Iterable[bytes], *, xid: int, room: int = MAX_LENGTH
) -> tuple[list[bytes], int]:
    """Wrap messages until `room` bytes are full; return the pieces of what to send, and how many messages they hold.

    The xids count up from `xid`; both headers of a message get the same, else OVS answers OFPBFC_MSG_BAD_XID. An
    iterator goes on behind the last message taken. Every flow of every switch passes here: no call per message.
    """
    pieces: list[bytes] = []
    pack, add, kind, number = _ADD.pack, pieces.append, MessageType.BUNDLE_ADD_MESSAGE, xid
    for message in messages:
        length = ADD_OVERHEAD + len(message)
        if length > MAX_LENGTH:
            raise EncodeError("bundle message", f"{length} bytes do not fit into one message")
        add(pack(VERSION, kind, length, number, bundle_id, flags, message, number))
        add(message[HEADER_LENGTH:])
        number += 1
        room -= length
        if room <= 0:
            break
    return pieces, number - xid


def decode_bundle_control(message: bytes) -> BundleReply:
    """Decode OFPT_BUNDLE_CONTROL; properties behind it are ignored."""
    if len(message) < HEADER_LENGTH + _CONTROL.size or message[1] != MessageType.BUNDLE_CONTROL:
        raise DecodeError("bundle control", f"{len(message)} bytes")
    return BundleReply._make(_CONTROL.unpack_from(message, HEADER_LENGTH))


def _encode_control(control: BundleControl, bundle_id: int, flags: BundleFlags, xid: int) -> bytes:
    body = _CONTROL.pack(bundle_id, control, flags)
    return encode_message(MessageType.BUNDLE_CONTROL, body, xid=xid)
