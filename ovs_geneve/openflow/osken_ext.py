# SPDX-License-Identifier: Apache-2.0
"""Teaches os-ken what GENEVE options need: tun_metadata0..63, the TLV map's messages, the errors' names.

For any Ryu or os-ken app, with or without the rest of this package:

    osken_ext.install()                                   # once, before the first switch connects
    match = parser.OFPMatch(in_port=10, tun_metadata0=(0xAD0000, 0xFF0000))
    action = parser.OFPActionSetField(tun_metadata1=bytes.fromhex("00000000000000ff"))
    osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, [TlvMap(0x104, 0x10, 4, 0)])   # an OFPExperimenter, to be sent

    @set_ev_cls(ofp_event.EventNXTTlvTableReply, MAIN_DISPATCHER)
    def on_reply(self, ev): ev.msg.maps

`install` replaces nothing of os-ken: it calls what os-ken itself calls while it is imported (a version's
`oxm_types` and `oxm_fields.generate`, `register_action_type`, `_register_exp_type`, `ofp_event`'s maker of event
classes).

A value is an int, or bytes of exactly the mapped length. An int is encoded in 4 bytes, or the next multiple of
4 that holds it; OVS pads on the left, so that fits every longer field, but keep value and mask of one match
equally long. What os-ken decodes is an int that knows its length, and encodes to the same bytes again.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any

from os_ken.controller import ofp_event
from os_ken.ofproto import (
    ofproto_common,
    ofproto_v1_3,
    ofproto_v1_3_parser,
    ofproto_v1_4,
    ofproto_v1_4_parser,
    ofproto_v1_5,
    ofproto_v1_5_parser,
    oxm_fields,
)

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.errors_table import EXPERIMENTER_ERROR, error_name
from ovs_geneve.openflow.tlv_table import (
    MAX_INDEX,
    MAX_OPTION_LENGTH,
    NXT_TLV_TABLE_MOD,
    NXT_TLV_TABLE_REPLY,
    NXT_TLV_TABLE_REQUEST,
    TlvCommand,
    TlvMap,
    decode_tlv_mod,
    decode_tlv_reply,
    encode_tlv_mod,
)

_NX = ofproto_common.NX_EXPERIMENTER_ID
_EXPERIMENTER_HEADER = 16
_FIRST_FIELD = 40
_FIRST_HEADER = oxm_fields.OFPXMC_NXM_1 << 7 | _FIRST_FIELD
"Class and field of tun_metadata0, as the upper 23 bits of an OXM header."
_SET_FIELD = Struct("!2xHI")
_MODULES = (
    (ofproto_v1_3, ofproto_v1_3_parser),
    (ofproto_v1_4, ofproto_v1_4_parser),
    (ofproto_v1_5, ofproto_v1_5_parser),
)


class OptionData(int):
    """A decoded tun_metadata value: an int that knows how many bytes it came in."""

    length: int

    def __new__(cls, data: bytes) -> OptionData:
        """Take the bytes from the wire, big-endian."""
        self = super().__new__(cls, int.from_bytes(data, "big"))
        self.length = len(data)
        return self


class _AnySize(int):
    """The size of a field without fixed length.

    os-ken refuses values whose length is `!=` the size, and writes the size into the header of a field that
    carries no value (NXActionRegMove): OVS takes any length there.
    """

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    def __ne__(self, other: object) -> bool:
        return not self == other


class TunMetadata:
    """os-ken's type descriptor of tun_metadata: OVS strips leading zeros of what a flow sets."""

    size = _AnySize(MAX_OPTION_LENGTH)

    @staticmethod
    def to_user(data: bytes) -> OptionData:
        """Turn wire bytes into what an app sees."""
        return OptionData(data)

    @staticmethod
    def from_user(value: int | bytes | bytearray) -> bytes:
        """Turn what an app gave into wire bytes."""
        data = bytes(value) if isinstance(value, bytes | bytearray) else _encode_int(value)
        if len(data) > MAX_OPTION_LENGTH:
            raise EncodeError("tun_metadata", f"{len(data)} bytes, at most {MAX_OPTION_LENGTH}")
        return data


def _encode_int(value: int) -> bytes:
    if value < 0:
        raise EncodeError("tun_metadata", f"{value} is negative")
    words = max(1, (value.bit_length() + 31) // 32)
    return value.to_bytes(getattr(value, "length", 0) or 4 * words, "big")


def install() -> None:
    """Register all of it with os-ken, for OpenFlow 1.3, 1.4 and 1.5. A second call does nothing."""
    for ofproto, parser in _MODULES:
        if not any(field.name == "tun_metadata0" for field in ofproto.oxm_types):
            ofproto.oxm_types.extend(_fields())
            oxm_fields.generate(ofproto.__name__)
            register = parser.OFPAction.register_action_type
            register(ofproto.OFPAT_SET_FIELD, ofproto.OFP_ACTION_SET_FIELD_SIZE)(_set_field(parser))
        if (_NX, NXT_TLV_TABLE_REPLY) not in parser.OFPExperimenter._subtypes:
            for subtype, message in _messages(parser).items():
                parser._register_exp_type(_NX, subtype)(message)
                ofp_event._create_ofp_msg_ev_class(message)


def tlv_table_mod(datapath: Any, command: TlvCommand, maps: Iterable[TlvMap] = ()) -> Any:
    """Make a NXTTlvTableMod for `datapath.send_msg`."""
    return _message_class(datapath, NXT_TLV_TABLE_MOD)(datapath, command, maps)


def tlv_table_request(datapath: Any) -> Any:
    """Make a NXTTlvTableRequest for `datapath.send_msg`; EventNXTTlvTableReply follows."""
    return _message_class(datapath, NXT_TLV_TABLE_REQUEST)(datapath)


def name_of_error(message: Any) -> str:
    """Name the error in an os-ken OFPErrorMsg as OVS does."""
    if message.type == EXPERIMENTER_ERROR:
        return error_name(message.type, message.exp_type, message.experimenter)
    return error_name(message.type, message.code)


def _fields() -> list[Any]:
    return [
        oxm_fields.NiciraExtended1(f"tun_metadata{index}", _FIRST_FIELD + index, TunMetadata)
        for index in range(MAX_INDEX + 1)
    ]


def _set_field(parser: Any) -> Any:
    """Make a decoder for OFPAT_SET_FIELD that takes an option set to 0: OVS strips it to no bytes at all."""

    class OFPActionSetField(parser.OFPActionSetField):  # type: ignore[misc]  # os-ken is untyped
        @classmethod
        def parser(cls, buf: bytes, offset: int) -> Any:
            length, header = _SET_FIELD.unpack_from(buf, offset)
            index = (header >> 9) - _FIRST_HEADER
            if header & 0xFF or not 0 <= index <= MAX_INDEX:
                return super().parser(buf, offset)
            action = cls(**{f"tun_metadata{index}": OptionData(b"")})
            action.len = length
            return action

    return OFPActionSetField


def _message_class(datapath: Any, subtype: int) -> Any:
    return datapath.ofproto_parser.OFPExperimenter._subtypes[_NX, subtype]


def _messages(parser: Any) -> dict[int, Any]:
    """Make the three message classes on top of one OpenFlow version's OFPExperimenter."""

    class NXTTlvTableMod(parser.OFPExperimenter):  # type: ignore[misc]  # os-ken is untyped
        def __init__(self, datapath: Any, command: TlvCommand, maps: Iterable[TlvMap] = ()) -> None:
            maps = tuple(maps)
            body = encode_tlv_mod(command, maps)[_EXPERIMENTER_HEADER:]
            super().__init__(datapath, _NX, NXT_TLV_TABLE_MOD, body)
            self.command = command
            self.maps = maps

        @classmethod
        def parser_subtype(cls, message: Any) -> Any:
            return cls(message.datapath, *decode_tlv_mod(bytes(message.buf)))

    class NXTTlvTableRequest(parser.OFPExperimenter):  # type: ignore[misc]  # os-ken is untyped
        def __init__(self, datapath: Any) -> None:
            super().__init__(datapath, _NX, NXT_TLV_TABLE_REQUEST, b"")

        @classmethod
        def parser_subtype(cls, message: Any) -> Any:
            return cls(message.datapath)

    class NXTTlvTableReply(parser.OFPExperimenter):  # type: ignore[misc]  # os-ken is untyped
        def __init__(self, datapath: Any, message: bytes) -> None:
            super().__init__(datapath, _NX, NXT_TLV_TABLE_REPLY, message[_EXPERIMENTER_HEADER:])
            table = decode_tlv_reply(message)
            self.max_option_space = table.max_space
            self.max_fields = table.max_fields
            self.maps = table.maps

        @classmethod
        def parser_subtype(cls, message: Any) -> Any:
            return cls(message.datapath, bytes(message.buf))

    return {
        NXT_TLV_TABLE_MOD: NXTTlvTableMod,
        NXT_TLV_TABLE_REQUEST: NXTTlvTableRequest,
        NXT_TLV_TABLE_REPLY: NXTTlvTableReply,
    }
