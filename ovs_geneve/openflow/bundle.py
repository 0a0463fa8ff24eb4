# SPDX-License-Identifier: Apache-2.0
"""Bundles: messages that a switch collects and then carries out all at once (OpenFlow 1.5.1 section 7.3.9).

An add that the switch refuses is left out and does *not* poison the bundle: a later commit installs the
rest. So a barrier goes before the commit, and one error before its reply means discard. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from itertools import accumulate, islice
from struct import Struct
from typing import NamedTuple

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.messages import HEADER_LENGTH, MAX_LENGTH, VERSION, MessageType, encode_message

_CONTROL = Struct("!IHH")
_ADD = Struct("!BBHII2xH4sI")
"The wrapper, and of the message's own header all but the xid ('4s' takes the first four bytes of it), then that."
_NO_XID = bytes(4)
ADD_OVERHEAD = _ADD.size - HEADER_LENGTH
"Bytes that OFPT_BUNDLE_ADD_MESSAGE puts before the message it carries."

SHARED_XID = 0xFFFF_FFEF
"The xid of every message in a `Block`: the last one that sessions claim, and none of them gives it to anything else."

SHARED_BUNDLE = 1
"""The bundle of every message in a `Block`. Bundle identifiers belong to a connection, and a session has one
bundle open at a time."""


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


class Block(NamedTuple):
    """Messages wrapped for a bundle, back to back: the same bytes for every switch that gets them.

    Which of them the switch refuses cannot be told by xid, since all have `SHARED_XID`, but OVS quotes it.
    """

    data: bytes
    ends: tuple[int, ...]
    "Where each message ends in `data`; blocks of one shape share it."

    @classmethod
    def of(cls, *messages: bytes) -> Block:
        """Wrap messages."""
        return cls.of_wrapped(
            [encode_bundle_add(SHARED_BUNDLE, ATOMIC_ORDERED, one, xid=SHARED_XID) for one in messages]
        )

    @classmethod
    def of_wrapped(cls, messages: Sequence[bytes]) -> Block:
        """Put messages together that are wrapped already."""
        return cls(b"".join(messages), tuple(accumulate(map(len, messages))))

    def messages(self) -> Iterator[bytes]:
        """Yield the messages without their wrapping, xid 0 again."""
        start = ADD_OVERHEAD
        for end in self.ends:
            yield self.data[start : start + 4] + _NO_XID + self.data[start + 8 : end]
            start = end + ADD_OVERHEAD


def joined(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Join blocks, in their order, into such of about `size` messages each."""
    pieces: list[bytes] = []
    ends: list[int] = []
    end = 0
    for block in blocks:
        if ends and len(ends) + len(block.ends) > size:
            yield Block(b"".join(pieces), tuple(ends))
            pieces, ends, end = [], [], 0
        pieces.append(block.data)
        ends += [end + one for one in block.ends]
        end += len(block.data)
    if ends:
        yield Block(b"".join(pieces), tuple(ends))


class Wrapped(Sequence[bytes]):
    """The messages of a bundle as blocks; as a sequence, the messages themselves."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = tuple(blocks)
        self._count = sum([len(block.ends) for block in self.blocks])

    @classmethod
    def of(cls, messages: Iterable[bytes], size: int = 1) -> Wrapped:
        """Wrap messages, so many in a block; those that are wrapped already stay as they are."""
        if isinstance(messages, cls):
            return messages
        waiting = iter(messages)
        blocks = []
        while run := tuple(islice(waiting, size)):
            blocks.append(Block.of(*run))
        return cls(blocks)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            yield from block.messages()

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # Sequence's two overloads; for errors and tests
        return list(self)[index]

    def split(self, limit: int) -> Iterator[Wrapped]:
        """Yield the blocks in runs of about `limit` messages, whole blocks each."""
        run, count = list[Block](), 0
        for block in self.blocks:
            if run and count + len(block.ends) > limit:
                yield Wrapped(run)
                run, count = [], 0
            run.append(block)
            count += len(block.ends)
        if run:
            yield Wrapped(run)


def encode_bundle_open(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the opening of a bundle; its identifier is the connection's own."""
    return _encode_control(BundleControl.OPEN_REQUEST, bundle_id, flags, xid)


def encode_bundle_commit(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the commit; the bundle is gone afterwards, even where it fails (OVS `do_bundle_commit`)."""
    return _encode_control(BundleControl.COMMIT_REQUEST, bundle_id, flags, xid)


def encode_bundle_discard(bundle_id: int, flags: BundleFlags = ATOMIC_ORDERED, *, xid: int = 0) -> bytes:
    """Encode the discarding of a bundle and all it holds."""
    return _encode_control(BundleControl.DISCARD_REQUEST, bundle_id, flags, xid)


def encode_bundle_add(bundle_id: int, flags: BundleFlags, message: bytes, *, xid: int = 0) -> bytes:
    """Wrap `message` for a bundle; both headers get `xid`, else OVS answers OFPBFC_MSG_BAD_XID."""
    length = ADD_OVERHEAD + len(message)
    if length > MAX_LENGTH:
        raise EncodeError("bundle message", f"{length} bytes do not fit into one message")
    head = _ADD.pack(VERSION, MessageType.BUNDLE_ADD_MESSAGE, length, xid, bundle_id, flags, message, xid)
    return head + message[HEADER_LENGTH:]


def decode_bundle_control(message: bytes) -> BundleReply:
    """Decode OFPT_BUNDLE_CONTROL; properties behind it are ignored."""
    if len(message) < HEADER_LENGTH + _CONTROL.size or message[1] != MessageType.BUNDLE_CONTROL:
        raise DecodeError("bundle control", f"{len(message)} bytes")
    return BundleReply._make(_CONTROL.unpack_from(message, HEADER_LENGTH))


def _encode_control(control: BundleControl, bundle_id: int, flags: BundleFlags, xid: int) -> bytes:
    body = _CONTROL.pack(bundle_id, control, flags)
    return encode_message(MessageType.BUNDLE_CONTROL, body, xid=xid)
