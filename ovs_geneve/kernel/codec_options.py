# SPDX-License-Identifier: Apache-2.0
"""GENEVE options in attributes: the same three in tunnel_key actions, flower matches and light-weight tunnels.

The kernel takes a nest for each option and gives back one nest with all of them, one after another
(net/sched/act_tunnel_key.c: tunnel_key_geneve_opts_dump; net/sched/cls_flower.c: fl_dump_key_geneve_opt).
"""

from __future__ import annotations

from collections.abc import Iterator

from ovs_geneve.kernel import wire
from ovs_geneve.kernel.objects import GeneveOption, GeneveOptionMatch

_GENEVE = 1
_CLASS, _TYPE, _DATA = 1, 2, 3


def encode_options(options: tuple[GeneveOption, ...]) -> bytes:
    """Encode options to be set."""
    return b"".join(_option(one.option_class, one.option_type, one.data) for one in options)


def decode_options(data: bytes) -> tuple[GeneveOption, ...]:
    """Decode options that are set."""
    return tuple(
        GeneveOption(option_class=option_class, option_type=option_type, data=value)
        for option_class, option_type, value in _triples(data)
    )


def encode_keys(matches: tuple[GeneveOptionMatch, ...]) -> bytes:
    """Encode the values of a match."""
    return b"".join(_option(one.option_class, one.option_type, one.data) for one in matches)


def encode_masks(matches: tuple[GeneveOptionMatch, ...]) -> bytes:
    """Encode the masks of a match."""
    return b"".join(_option(one.class_mask, one.type_mask, one.data_mask) for one in matches)


def decode_matches(keys: bytes, masks: bytes) -> tuple[GeneveOptionMatch, ...]:
    """Decode a match from its values and masks."""
    return tuple(
        GeneveOptionMatch(
            option_class=key[0],
            option_type=key[1],
            data=key[2],
            class_mask=mask[0],
            type_mask=mask[1],
            data_mask=mask[2],
        )
        for key, mask in zip(_triples(keys), _triples(masks), strict=False)
    )


def _option(option_class: int, option_type: int, data: str) -> bytes:
    return wire.nested(
        _GENEVE,
        wire.be16(_CLASS, option_class),
        wire.u8(_TYPE, option_type),
        wire.attribute(_DATA, bytes.fromhex(data)),
    )


def _triples(data: bytes) -> Iterator[tuple[int, int, str]]:
    for number, nest in wire.attributes(data):
        if number != _GENEVE:
            continue
        option_class = option_type = 0
        for field, value in wire.attributes(nest):
            if field == _CLASS:
                option_class = wire.network_number(value)
            elif field == _TYPE:
                option_type = value[0]
            elif field == _DATA:
                yield option_class, option_type, value.hex()
