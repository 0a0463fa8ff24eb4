# SPDX-License-Identifier: Apache-2.0
"""A route netlink socket: many requests at once, dumps, and what happened. It belongs to the network namespace
of the thread that made it, wherever it is used later."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

from pyroute2.netlink import NLMSG_DONE, NLMSG_ERROR

from ovs_geneve.kernel import wire
from ovs_geneve.kernel.wire import Message

_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK = 10, 11
_RECEIVE = 1 << 18
_BATCH_BYTES = 32 << 10
_BATCH_MESSAGES = 64
"Acknowledgements of one batch have to fit the socket's receive buffer."
_CAPPED, _HAS_EXTACK = 0x100, 0x200
_DUMP_INTERRUPTED = 0x10
_DUMP_TRIES = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the kernel answered a request that it did not carry out."""

    number: int
    "An errno."
    detail: str = ""
    "The kernel's own words (NLMSGERR_ATTR_MSG), often empty."

    @property
    def name(self) -> str:
        """The errno's name."""
        return errno.errorcode.get(self.number, str(self.number))

    def __str__(self) -> str:
        return f"{os.strerror(self.number)}: {self.detail}" if self.detail else os.strerror(self.number)


class Netlink:
    """Requests in the order given, each with its own outcome."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, messages: Sequence[Message]) -> list[Refusal | None]:
        """Send requests and return how each ended; None is well. One that fails does not stop the next."""
        outcomes: list[Refusal | None] = []
        for batch in _batches(messages):
            outcomes += self._request(batch)
        return outcomes

    def dump(self, message: Message) -> list[Message]:
        """Return the answers to a dump; [] when there is nothing to look through. Raises OSError."""
        for _ in range(_DUMP_TRIES):
            answers, whole = self._dump(message)
            if whole:
                break
        return answers

    def _request(self, batch: Sequence[Message]) -> list[Refusal | None]:
        first = self._sequence + 1
        self._sequence += len(batch)
        data = b"".join(wire.packed(one, first + n, wire.ACKNOWLEDGE) for n, one in enumerate(batch))
        self._socket.sendto(data, (0, 0))
        outcomes: dict[int, Refusal | None] = {}
        while len(outcomes) < len(batch):
            for sequence, answer in wire.unpacked(self._socket.recv(_RECEIVE)):
                if answer.type == NLMSG_ERROR and first <= sequence <= self._sequence:
                    outcomes[sequence - first] = refusal(answer)
        return [outcomes[n] for n in range(len(batch))]

    def _dump(self, message: Message) -> tuple[list[Message], bool]:
        self._sequence += 1
        self._socket.sendto(wire.packed(message, self._sequence, wire.ROOT_DUMP), (0, 0))
        answers: list[Message] = []
        whole = True
        while True:
            for sequence, answer in wire.unpacked(self._socket.recv(_RECEIVE)):
                if sequence != self._sequence:
                    continue
                whole = whole and not answer.flags & _DUMP_INTERRUPTED
                if answer.type == NLMSG_DONE:
                    return answers, whole
                if answer.type == NLMSG_ERROR:
                    _raise(refusal(answer))
                    return answers, whole
                answers.append(answer)


def refusal(answer: Message) -> Refusal | None:
    """Decode an NLMSG_ERROR; None is an acknowledgement."""
    (code,) = struct.unpack_from("=i", answer.body)
    if code == 0:
        return None
    detail = ""
    if answer.flags & _HAS_EXTACK:
        (length,) = struct.unpack_from("=I", answer.body, 4)
        offset = 4 + (16 if answer.flags & _CAPPED else length + (-length % 4))
        detail = wire.string(wire.table(answer.body[offset:]).get(1, b""))
    return Refusal(-code, detail)


def _raise(refused: Refusal | None) -> None:
    if refused:
        raise OSError(refused.number, str(refused))


def _batches(messages: Iterable[Message]) -> Iterable[list[Message]]:
    batch: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.body) + 20
        if batch and (size + length > _BATCH_BYTES or len(batch) == _BATCH_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch
