# SPDX-License-Identifier: Apache-2.0
"""A switch's side of an OpenFlow connection, as far as a test wants to go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ovs_geneve.openflow.messages import MessageType, decode_header, encode_hello, encode_message, stamp

PORT_DESC = bytes.fromhex("000d000000000000")


@dataclass
class FakeSwitch:
    """Connected, nothing said yet."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, place: Path | int) -> FakeSwitch:
        if isinstance(place, int):
            return cls(*await asyncio.open_connection("127.0.0.1", place))
        return cls(*await asyncio.open_unix_connection(str(place)))

    async def read(self) -> bytes:
        head = await self.reader.readexactly(8)
        return head + await self.reader.readexactly(decode_header(head).length - 8)

    async def read_until(self, kind: MessageType) -> bytes:
        while True:
            message = await self.read()
            if message[1] == kind:
                return message

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def handshake(self, dpid: int = 1) -> None:
        self.send(encode_hello())
        request = await self.read_until(MessageType.FEATURES_REQUEST)
        self.send(stamp(features(dpid), decode_header(request).xid))
        request = await self.read_until(MessageType.MULTIPART_REQUEST)
        self.send(encode_message(MessageType.MULTIPART_REPLY, PORT_DESC, xid=decode_header(request).xid))

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return  # the other side was faster

    def cut(self) -> None:
        self.writer.transport.abort()


def features(dpid: int) -> bytes:
    return encode_message(MessageType.FEATURES_REPLY, dpid.to_bytes(8) + bytes(16))
