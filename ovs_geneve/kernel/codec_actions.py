# SPDX-License-Identifier: Apache-2.0
"""Actions of filters <-> attributes (linux/pkt_cls.h TCA_ACT_*, linux/tc_act/*.h)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from ovs_geneve.errors import DecodeError
from ovs_geneve.kernel import wire
from ovs_geneve.kernel.codec_options import decode_options, encode_options
from ovs_geneve.kernel.objects import Action, Goto, Mirred, SetMark, TunnelSet, TunnelUnset, Verdict

_KIND, _OPTIONS = 1, 2
_PARMS = 2
"TCA_GACT_PARMS, TCA_MIRRED_PARMS, TCA_SKBEDIT_PARMS, TCA_TUNNEL_KEY_PARMS: all 2."
_CONTINUE, _PASS, _DROP, _PIPE, _STOLEN = -1, 0, 2, 3, 4
_GOTO = 0x20000000
"TC_ACT_GOTO_CHAIN; the lower 28 bits are the chain."
_VERDICTS = {"pass": _PASS, "drop": _DROP, "continue": _CONTINUE}
_MIRRED = {(False, False): 1, (False, True): 2, (True, False): 3, (True, True): 4}
"(ingress, copy): TCA_EGRESS_REDIR and so on, tc_mirred.h."
_SKBEDIT_MARK = 5
_SET, _RELEASE = 1, 2
_IPV4_SRC, _IPV4_DST, _IPV6_SRC, _IPV6_DST, _KEY_ID = 3, 4, 5, 6, 7
_DST_PORT, _NO_CSUM, _ENC_OPTS, _TOS, _TTL = 9, 10, 11, 12, 13

Indexes = Mapping[str, int]
Names = Mapping[int, str]


def encode_actions(actions: tuple[Action, ...], indexes: Indexes) -> bytes:
    """Encode a list of actions. Raises KeyError with the name of a device that is not there."""
    return b"".join(
        wire.nested(place, *_encode(action, indexes)) for place, action in enumerate(actions, start=1)
    )


def decode_actions(data: bytes, names: Names) -> tuple[Action, ...]:
    """Decode a list of actions. Raises DecodeError for what has no place among the objects."""
    actions = []
    for _, one in sorted(wire.attributes(data), key=lambda pair: pair[0]):
        fields = wire.table(one)
        kind = wire.string(fields.get(_KIND, b""))
        if kind not in _DECODERS or _OPTIONS not in fields:
            raise DecodeError("action", f"{kind or 'none'}: not one of ours")
        actions.append(_DECODERS[kind](wire.table(fields[_OPTIONS]), names))
    return tuple(actions)


def _encode(action: Action, indexes: Indexes) -> tuple[bytes, bytes]:
    match action:
        case TunnelSet():
            return _action("tunnel_key", _tunnel_set(action))
        case TunnelUnset():
            return _action("tunnel_key", _parms(_PIPE, struct.pack("=i", _RELEASE)))
        case Mirred():
            code = _MIRRED[action.ingress, action.copy]
            more = struct.pack("=iI", code, indexes[action.device])
            return _action("mirred", _parms(_PIPE if action.copy else _STOLEN, more))
        case SetMark():
            return _action("skbedit", _parms(_PIPE), wire.u32(_SKBEDIT_MARK, action.mark))
        case Goto():
            return _action("gact", _parms(_GOTO | action.chain))
        case Verdict():
            return _action("gact", _parms(_VERDICTS[action.verdict]))


def _action(kind: str, *options: bytes) -> tuple[bytes, bytes]:
    return wire.text(_KIND, kind), wire.nested(_OPTIONS, *options)


def _parms(control: int, more: bytes = b"") -> bytes:
    # struct tc_gen: index, capab, action, refcnt, bindcnt (linux/pkt_cls.h)
    return wire.attribute(_PARMS, struct.pack("=IIiii", 0, 0, control, 0, 0) + more)


def _tunnel_set(action: TunnelSet) -> bytes:
    dst = ip_address(action.dst)
    # act_tunnel_key.c wants both addresses; the source of zeros is the routing's choice.
    src = ip_address(action.src) if action.src else type(dst)(0)
    first = _IPV4_SRC if dst.version == 4 else _IPV6_SRC
    options = (wire.nested(_ENC_OPTS, encode_options(action.options)),) if action.options else ()
    return b"".join(
        (
            _parms(_PIPE, struct.pack("=i", _SET)),
            wire.be32(_KEY_ID, action.vni),
            wire.attribute(first, src.packed),
            wire.attribute(first + 1, dst.packed),
            wire.be16(_DST_PORT, action.dst_port),
            wire.u8(_NO_CSUM, not action.csum),
            *options,
            wire.u8(_TOS, action.tos),
            wire.u8(_TTL, action.ttl),
        )
    )


def _decode_tunnel(fields: Mapping[int, bytes], names: Names) -> Action:
    if struct.unpack_from("=i", fields[_PARMS], 20)[0] == _RELEASE:
        return TunnelUnset()
    family = _IPV4_SRC if _IPV4_DST in fields else _IPV6_SRC
    src = fields.get(family, b"")
    return TunnelSet(
        vni=wire.network_number(fields.get(_KEY_ID, b"\0")),
        src=wire.address_text(src) if any(src) else None,
        dst=wire.address_text(fields[family + 1]),
        dst_port=wire.network_number(fields.get(_DST_PORT, b"\0")),
        ttl=wire.number(fields.get(_TTL, b"\0")),
        tos=wire.number(fields.get(_TOS, b"\0")),
        csum=not wire.number(fields.get(_NO_CSUM, b"\0")),
        options=decode_options(fields.get(_ENC_OPTS, b"")),
    )


def _decode_mirred(fields: Mapping[int, bytes], names: Names) -> Action:
    code, index = struct.unpack_from("=iI", fields[_PARMS], 20)
    for (ingress, copy), known in _MIRRED.items():
        if known == code:
            return Mirred(device=names.get(index, f"#{index}"), copy=copy, ingress=ingress)
    raise DecodeError("mirred", f"action {code}")


def _decode_mark(fields: Mapping[int, bytes], names: Names) -> Action:
    if _SKBEDIT_MARK not in fields:
        raise DecodeError("skbedit", "sets no mark")
    return SetMark(mark=wire.number(fields[_SKBEDIT_MARK]))


def _decode_gact(fields: Mapping[int, bytes], names: Names) -> Action:
    (control,) = struct.unpack_from("=i", fields[_PARMS], 8)
    if control > 0 and control & _GOTO:
        return Goto(chain=control & ~_GOTO)
    if control == _PASS:
        return Verdict(verdict="pass")
    if control == _DROP:
        return Verdict(verdict="drop")
    if control == _CONTINUE:
        return Verdict(verdict="continue")
    raise DecodeError("gact", f"action {control}")


_DECODERS: Mapping[str, Callable[[Mapping[int, bytes], Names], Action]] = {
    "tunnel_key": _decode_tunnel,
    "mirred": _decode_mirred,
    "skbedit": _decode_mark,
    "gact": _decode_gact,
}
