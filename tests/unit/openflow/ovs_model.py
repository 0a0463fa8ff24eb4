# SPDX-License-Identifier: Apache-2.0
"""What OVS does with the messages of a session, as measured on 3.1: enough to play the other side."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovs_geneve.openflow.bundle import BundleControl
from ovs_geneve.openflow.messages import MessageType, decode_header, encode_message

REFUSED = b"REFUSED"
"A message with this in its body is refused when it is added (NXFMFC_INVALID_TLV_FIELD)."
FAILS = b"FAILS"
"A message with this in its body is accepted, but the bundle fails with it at the commit (OFPFMFC_TABLE_FULL)."

NOT_MAPPED = bytes.fromhex("ffff002500002320")
TABLE_FULL = bytes.fromhex("00050001")
MSG_FAILED = bytes.fromhex("0011000d")
BAD_ID = bytes.fromhex("00110002")
MAPPED_ALREADY = bytes.fromhex("ffff001400002320")


def message(text: bytes, kind: int = MessageType.FLOW_MOD) -> bytes:
    return encode_message(kind, text)


@dataclass
class OvsModel:
    """Takes whole messages, gives the answers; `installed` is what took effect, in order."""

    installed: list[bytes] = field(default_factory=list)
    mapped: list[bytes] = field(default_factory=list)
    bundles: dict[int, list[bytes]] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    "Types of the messages that arrived."

    def receive(self, data: bytes) -> list[bytes]:
        answers = []
        while data:
            length = decode_header(data).length
            one, data = data[:length], data[length:]
            self.seen.append(one[1])
            answers += self._one(one)
        return answers

    def _one(self, one: bytes) -> list[bytes]:
        kind = one[1]
        if kind == MessageType.BARRIER_REQUEST:
            return [_reply(one, MessageType.BARRIER_REPLY)]
        if kind == MessageType.BUNDLE_CONTROL:
            return self._control(one)
        if kind == MessageType.BUNDLE_ADD_MESSAGE:
            return self._add(one)
        if kind == MessageType.EXPERIMENTER:
            return self._experimenter(one)
        if kind == MessageType.MULTIPART_REQUEST:
            return [_reply(one, MessageType.MULTIPART_REPLY, one[8:10] + bytes(6))]
        return [_error(one, NOT_MAPPED)] if REFUSED in one else []

    def _add(self, one: bytes) -> list[bytes]:
        assert one[4:8] == one[20:24], "OFPBFC_MSG_BAD_XID"
        if REFUSED in one:
            return [_error(one, NOT_MAPPED)]
        # OVS opens a bundle that it does not know.
        self.bundles.setdefault(int.from_bytes(one[8:12]), []).append(one)
        return []

    def _control(self, one: bytes) -> list[bytes]:
        bundle, control = int.from_bytes(one[8:12]), int.from_bytes(one[12:14])
        if control == BundleControl.OPEN_REQUEST:
            assert bundle not in self.bundles
            self.bundles[bundle] = []
        elif bundle not in self.bundles:
            return [_error(one, BAD_ID)]
        else:
            adds = self.bundles.pop(bundle)
            if control == BundleControl.COMMIT_REQUEST:
                for add in adds:
                    if FAILS in add:
                        return [_error(add, TABLE_FULL), _error(one, MSG_FAILED)]
                self.installed += [add[24:] for add in adds]
        return [_reply(one, MessageType.BUNDLE_CONTROL, one[8:12] + (control + 1).to_bytes(2) + bytes(2))]

    def _experimenter(self, one: bytes) -> list[bytes]:
        if one[15] == 25:
            return [
                _reply(
                    one,
                    4,
                    bytes.fromhex("000023200000001a0000010000400000") + bytes(8) + b"".join(self.mapped),
                )
            ]
        maps = [one[at : at + 8] for at in range(24, len(one), 8)]
        if one[17] == 1:
            self.mapped = [each for each in self.mapped if each not in maps]
        elif set(maps) & set(self.mapped):
            return [_error(one, MAPPED_ALREADY)]
        else:
            self.mapped += maps
        return []


def _reply(request: bytes, kind: int, body: bytes = b"") -> bytes:
    return encode_message(kind, body, xid=decode_header(request).xid)


def _error(request: bytes, numbers: bytes) -> bytes:
    return _reply(request, MessageType.ERROR, numbers + request)
