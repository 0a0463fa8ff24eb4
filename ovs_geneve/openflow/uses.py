# SPDX-License-Identifier: Apache-2.0
"""Which tun_metadata fields a FLOW_MOD matches or writes, read from its bytes: what OVS wants mapped for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ovs_geneve.openflow.fields import HEADER_SIZE
from ovs_geneve.openflow.template import message_key

_MATCH_AT = 48
_KEY_TERMS_AT = 3
"In a flow key, behind table and priority."

_NXM_1 = 1
_TUN_METADATA_NUMBERS = range(40, 104)

_WRITE_ACTIONS, _APPLY_ACTIONS = 3, 4
_SET_FIELD, _COPY_FIELD, _EXPERIMENTER = 25, 28, 0xFFFF
_OUTPUT_REG, _CT, _CLONE, _DELETE_FIELD = 15, 35, 42, 50

_NESTED_AT = {_CT: 24, _CLONE: 16}
"Where the actions inside a Nicira action begin (OVS lib/ofp-actions.c)."

_NICIRA_FIELDS_AT = {_OUTPUT_REG: (12,), _CT: (12,), _DELETE_FIELD: (10,)}
_INSTRUCTION_ACTIONS_AT = 8


def slots_used(flow_mod: bytes) -> frozenset[int]:
    """Return N of every tun_metadataN that a FLOW_MOD speaks of."""
    numbers = (_slot(header) for header in _headers(flow_mod))
    return frozenset(number for number in numbers if number is not None)


def _slot(header: bytes) -> int | None:
    number = header[2] >> 1
    ours = int.from_bytes(header[:2]) == _NXM_1 and number in _TUN_METADATA_NUMBERS
    return number - _TUN_METADATA_NUMBERS.start if ours else None


def _headers(flow_mod: bytes) -> Iterator[bytes]:
    terms = message_key(flow_mod)[_KEY_TERMS_AT:]
    at = 0
    while at < len(terms):
        yield terms[at : at + HEADER_SIZE]
        at += HEADER_SIZE + terms[at + HEADER_SIZE - 1]
    match_length = int.from_bytes(flow_mod[_MATCH_AT + 2 : _MATCH_AT + 4])
    instructions = flow_mod[_MATCH_AT + match_length + -match_length % 8 :]
    for kind, instruction in _each(instructions):
        if kind in (_WRITE_ACTIONS, _APPLY_ACTIONS):
            yield from _of_actions(instruction[_INSTRUCTION_ACTIONS_AT:])


def _of_actions(actions: bytes) -> Iterator[bytes]:
    for kind, action in _each(actions):
        if kind == _SET_FIELD:
            yield action[4 : 4 + HEADER_SIZE]
        elif kind == _COPY_FIELD:
            yield action[12 : 12 + HEADER_SIZE]
            yield action[16 : 16 + HEADER_SIZE]
        elif kind == _EXPERIMENTER:
            subtype = int.from_bytes(action[8:10])
            for at in _NICIRA_FIELDS_AT.get(subtype, ()):
                yield action[at : at + HEADER_SIZE]
            if subtype in _NESTED_AT:
                yield from _of_actions(action[_NESTED_AT[subtype] :])


def _each(entries: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield instructions or actions with their kind: both begin with kind and length, 2 bytes each."""
    at = 0
    while at < len(entries):
        length = int.from_bytes(entries[at + 2 : at + 4])
        yield int.from_bytes(entries[at : at + 2]), entries[at : at + length]
        at += length
