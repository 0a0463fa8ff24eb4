# SPDX-License-Identifier: Apache-2.0
"""Policies between groups the other way: the addresses of a group's members in flows, as OVN's address sets do it.

A rule "from group A to group B, TCP port P" on a host with ports of B is, for each IP version, a conjunctive match
(ovs-fields(7), "Conjunctive Match Fields") of two dimensions:

    A's addresses   one flow each   base, nw_src=…   actions=conjunction(ID, 1/2)
    B's local ports one flow each   base, reg15=…    actions=conjunction(ID, 2/2)
                    one flow        base, conj_id=ID actions=resubmit(,NEXT)

With one local port there is one dimension only, and a plain flow for each address. Flows of two rules with one match
are one flow with an action for each, as ovn-controller's ofctrl_add_or_append_flow has it.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ovs_geneve.openflow.actions import Action, Resubmit
from ovs_geneve.openflow.fields import (
    CONJ_ID,
    ETH_TYPE,
    IP_PROTO,
    IPV4_SRC,
    IPV6_SRC,
    METADATA,
    REG15,
    TCP_DST,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike
from ovs_geneve.openflow.template import encode_flow_add

TABLE, NEXT = 44, 45
"Where OVN has its ACLs of the receiving side, more or less."

_PRIORITY, _NETWORK, _TCP = 2001, 1, 6
_SOURCE = {4: (0x0800, IPV4_SRC), 6: (0x86DD, IPV6_SRC)}

_STAND_IN = Resubmit(0xEE)
_STAND_IN_BYTES = struct.pack("!HHIHHB3x", 0xFFFF, 16, 0x2320, 14, 0xFFF8, 0xEE)
"NXAST_RESUBMIT_TABLE is as long as NXAST_CONJUNCTION, which our encoder does not know."


class Member(NamedTuple):
    """A port: its register value, and its address of each IP version."""

    key: int
    addresses: dict[int, int]


class Rule(NamedTuple):
    """TCP to one port, from a group to a group."""

    number: int
    from_group: int
    to_group: int
    port: int


class _Conjunction(NamedTuple):
    conj_id: int
    clause: int


@dataclass(frozen=True, slots=True)
class AddressSets:
    """The members of every group, and which of them a host has itself."""

    members: dict[int, list[Member]]
    local: dict[int, list[Member]]

    def flows(self, rules: Iterable[Rule]) -> list[bytes]:
        """Encode what the host has for these rules."""
        found = defaultdict[tuple[TermLike, ...], list[_Conjunction]](list)
        for rule in rules:
            for terms, action in self._of_rule(rule):
                if action is None:
                    found[terms] = []
                else:
                    found[terms].append(action)
        return [_encoded(terms, actions) for terms, actions in found.items()]

    def flows_of_member(self, member: Member, group: int, rules: Iterable[Rule]) -> list[bytes]:
        """Encode what another member of a group, on another host, brings to this host."""
        alone = AddressSets({**self.members, group: [member]}, self.local)
        sources = set(member.addresses.values())
        return [
            _encoded(terms, [] if action is None else [action])
            for rule in rules
            if rule.from_group == group
            for terms, action in alone._of_rule(rule)
            if any(term[1] in sources for term in terms)
        ]

    def cross_product(self, rules: Iterable[Rule]) -> int:
        """Count the flows without conjunctions: every address with every local port."""
        return sum(
            2 * len(self.members[rule.from_group]) * len(self.local.get(rule.to_group, ())) for rule in rules
        )

    def _of_rule(self, rule: Rule) -> Iterator[tuple[tuple[TermLike, ...], _Conjunction | None]]:
        ports = self.local.get(rule.to_group, [])
        for version, (ethertype, source) in _SOURCE.items() if ports else ():
            base: tuple[TermLike, ...] = (
                (METADATA, _NETWORK),
                (ETH_TYPE, ethertype),
                (IP_PROTO, _TCP),
                (TCP_DST, rule.port),
            )
            addresses = [member.addresses[version] for member in self.members[rule.from_group]]
            if len(ports) == 1:
                alone = (REG15, ports[0].key)
                yield from (((*base, alone, (source, address)), None) for address in addresses)
                continue
            conj_id = 2 * rule.number + (version == 6) + 1
            yield from (((*base, (source, address)), _Conjunction(conj_id, 0)) for address in addresses)
            yield from (((*base, (REG15, port.key)), _Conjunction(conj_id, 1)) for port in ports)
            yield (*base, (CONJ_ID, conj_id)), None


def default_deny(local: dict[int, list[Member]]) -> list[bytes]:
    """Encode the flow that refuses the rest, for each local port of a group."""
    return [
        encode_flow_add(Flow(table=TABLE, priority=_PRIORITY - 1, match=Match.of((REG15, port.key))))
        for ports in local.values()
        for port in ports
    ]


def _encoded(terms: tuple[TermLike, ...], conjunctions: list[_Conjunction]) -> bytes:
    actions: tuple[Action, ...] = (_STAND_IN,) * len(conjunctions) or (Resubmit(NEXT),)
    message = encode_flow_add(Flow(table=TABLE, priority=_PRIORITY, match=Match.of(*terms), actions=actions))
    for conj_id, clause in conjunctions:
        action = struct.pack("!HHIHBBI", 0xFFFF, 16, 0x2320, 34, clause, 2, conj_id)
        assert _STAND_IN_BYTES in message
        message = message.replace(_STAND_IN_BYTES, action, 1)
    return message
