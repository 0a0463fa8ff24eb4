# SPDX-License-Identifier: Apache-2.0
"""Random matches, actions and groups that a switch accepts: prerequisites first, then anything."""

from __future__ import annotations

from random import Random

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_IN_PORT,
    OFPP_LOCAL,
    Action,
    Clone,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    DeleteField,
    FieldBits,
    Group,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetQueue,
)
from ovs_geneve.openflow.fields import Field, tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, Term, TermLike

OPTIONS = {0: 4, 1: 8, 5: 124, 7: 0, 63: 16}
"The option data length that each tun_metadata of the test's TLV map has."

_FREE = (
    f.ETH_SRC,
    f.ETH_DST,
    f.TUN_ID,
    f.TUN_FLAGS,
    f.TUN_SRC,
    f.TUN_DST,
    f.TUN_IPV6_SRC,
    f.TUN_IPV6_DST,
    f.PKT_MARK,
    f.CT_STATE,
    f.CT_ZONE,
    f.CT_MARK,
    f.CT_LABEL,
    f.METADATA,
    f.CONJ_ID,
)
_IP = (f.IP_DSCP, f.IP_ECN, f.IP_TTL, f.IP_FRAG)
_ARP = (f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.ARP_SHA, f.ARP_THA)
_IS_IP = (Term(f.ETH_TYPE, 0x0800), Term(f.ETH_TYPE, 0x86DD))
_INVALID = 0x10
_PORTS = {
    6: (f.TCP_SRC, f.TCP_DST, f.TCP_FLAGS),
    17: (f.UDP_SRC, f.UDP_DST),
    132: (f.SCTP_SRC, f.SCTP_DST),
}
_ND = (f.ND_TARGET, f.ND_RESERVED, f.ND_OPTIONS_TYPE)


def option(index: int) -> Field:
    return tun_metadata(index, OPTIONS[index])


def random_term(random: Random, field: Field) -> TermLike:
    """Choose a value and, every other time where that may be, a mask."""
    if not field.maskable or random.random() < 0.5:
        return field, random.getrandbits(field.bits) if field.bits else 0
    mask = random.getrandbits(field.bits) if random.random() < 0.7 else _prefix(random, field)
    mask = mask or field.ones
    return field, random.getrandbits(max(field.bits, 1)) & mask, mask


def _prefix(random: Random, field: Field) -> int:
    return field.ones ^ ((1 << random.randint(0, max(field.bits - 1, 0))) - 1)


def random_match(random: Random) -> Match:
    wanted = random.sample(_FREE, random.randint(0, 5))
    terms = [random_term(random, field) for field in wanted]
    if random.random() < 0.5:
        terms.append((f.IN_PORT, random.choice((1, 2, 10, 0xFEFF, OFPP_LOCAL))))
    if random.random() < 0.1:
        terms.append((f.ACTSET_OUTPUT, 2))
    terms += _registers(random) + _vlan(random) + _network(random) + _options(random)
    random.shuffle(terms)
    return Match.of(*terms)


def _registers(random: Random) -> list[TermLike]:
    chosen = random.choice(
        (
            (),
            random.sample(f.REGS, random.randint(1, 5)),
            random.sample(f.XREGS, random.randint(1, 3)),
            (random.choice(f.XXREGS),),
            (f.REG0, f.REG15, f.XREG1, f.XXREG2),
        )
    )
    return [random_term(random, field) for field in chosen]


def _vlan(random: Random) -> list[TermLike]:
    return random.choice(
        (
            [],
            [],
            [(f.VLAN_TCI, 0)],
            [(f.VLAN_TCI, 0x1000, 0x1000)],
            [(f.VLAN_TCI, 0x1000 | random.getrandbits(12) | random.getrandbits(3) << 13)],
            [(f.VLAN_VID, 0)],
            [(f.VLAN_VID, 0x1000 | random.getrandbits(12)), (f.VLAN_PCP, random.getrandbits(3))],
            [(f.VLAN_VID, 0x1000 | 0x800, 0x1000 | 0x800)],
        )
    )


def _options(random: Random) -> list[TermLike]:
    terms: list[TermLike] = []
    for index in random.sample(sorted(OPTIONS), random.randint(0, 3)):
        field = option(index)
        terms.append((field, 0, 0) if random.random() < 0.2 else random_term(random, field))
    return terms


def _network(random: Random) -> list[TermLike]:
    eth_type = random.choice((None, 0x88B5, 0x0806, 0x0800, 0x86DD))
    if eth_type is None:
        return []
    terms: list[TermLike] = [(f.ETH_TYPE, eth_type)]
    if eth_type == 0x0806:
        return terms + [random_term(random, field) for field in random.sample(_ARP, random.randint(0, 5))]
    if eth_type == 0x88B5:
        return terms
    addresses = (f.IPV4_SRC, f.IPV4_DST) if eth_type == 0x0800 else (f.IPV6_SRC, f.IPV6_DST, f.IPV6_FLABEL)
    chosen = random.sample(addresses, random.randint(0, 2)) + random.sample(_IP, random.randint(0, 3))
    terms += [random_term(random, field) for field in chosen]
    # A later fragment has no transport header: OVS refuses to match on one.
    later = any(term[0] is f.IP_FRAG and term[1] & 2 for term in terms)
    return terms if later else terms + _transport(random, eth_type)


def _transport(random: Random, eth_type: int) -> list[TermLike]:
    protocol = random.choice((None, 6, 17, 132, 47, 1 if eth_type == 0x0800 else 58))
    if protocol is None:
        return []
    terms: list[TermLike] = [(f.IP_PROTO, protocol)]
    if protocol == 1:
        return [*terms, random_term(random, f.ICMPV4_TYPE), random_term(random, f.ICMPV4_CODE)]
    if protocol == 58:
        return terms + _icmpv6(random)
    fields = _PORTS.get(protocol, ())
    chosen = random.sample(fields, random.randint(0, len(fields)))
    return terms + [random_term(random, field) for field in chosen]


def _icmpv6(random: Random) -> list[TermLike]:
    kind = random.choice((128, 135, 136))
    if kind == 128:
        return [(f.ICMPV6_TYPE, kind), random_term(random, f.ICMPV6_CODE)]
    fields = (*_ND, f.ND_SLL if kind == 135 else f.ND_TLL)
    terms = [random_term(random, field) for field in random.sample(fields, random.randint(0, 4))]
    return [(f.ICMPV6_TYPE, kind), (f.ICMPV6_CODE, 0), *terms]


def random_set(random: Random, field: Field) -> SetField:
    if random.random() < 0.5 or not field.maskable:
        return SetField(field, random.getrandbits(random.randint(1, field.bits)))
    mask = random.getrandbits(field.bits) or 1
    return SetField(field, random.getrandbits(field.bits) & mask, mask)


def random_bucket_action(random: Random, groups: range) -> Action:
    """Choose one of the actions that our groups use."""
    settable = (f.TUN_DST, f.TUN_IPV6_DST, f.TUN_ID, f.REG3, option(0), option(1), option(5), option(63))
    choices = [
        random_set(random, random.choice(settable)),
        Output(random.choice((1, 2, 10, OFPP_IN_PORT))),
        Resubmit(random.randint(1, 200)),
    ]
    return random.choice([*choices, Group(random.choice(groups))] if groups else choices)


def random_group(random: Random, group_id: int, lower: range = range(0)) -> GroupEntry:
    """Make a group whose buckets may use the groups in `lower`, which exist already."""
    kind = random.choice(list(GroupKind))
    count = 1 if kind is GroupKind.INDIRECT else random.randint(0, 6)
    buckets = tuple(
        Bucket(
            actions=tuple(random_bucket_action(random, lower) for _ in range(random.randint(0, 4))),
            watch_port=random.choice((1, 2)) if kind is GroupKind.FAST_FAILOVER else None,
            weight=random.choice((None, 1, 7)) if kind is GroupKind.SELECT else None,
        )
        for _ in range(count)
    )
    return GroupEntry(group_id=group_id, kind=kind, buckets=buckets)


def random_actions(random: Random) -> tuple[Action, ...]:
    """Choose actions that need no prerequisite."""
    settable = (f.ETH_DST, f.REG0, f.XREG1, f.XXREG1, f.TUN_ID, f.TUN_DST, f.TUN_IPV6_SRC, f.METADATA)
    choices: tuple[Action, ...] = (
        random_set(random, random.choice(settable)),
        random_set(random, option(random.choice((0, 1, 5, 63)))),
        Output(random.choice((1, OFPP_LOCAL, OFPP_IN_PORT))),
        OutputField(f.REG7, 0, 16),
        OutputField(f.REG7),
        Move(f.ETH_SRC, f.ETH_DST, 48),
        Move(f.REG1, f.TUN_ID, 12, 4, 8),
        Resubmit(random.randint(30, 200)),
        Resubmit(40, in_port=2),
        PushVlan(),
        Controller(userdata=bytes(range(random.randint(0, 9)))),
        Controller(max_len=128, controller_id=3),
        DeleteField(option(0)),
        SetField(f.TUN_FLAGS, random.getrandbits(1)),
        SetQueue(random.randint(0, 7)),
        CtClear(),
        Clone((SetField(f.REG2, 5), SetField(option(1), 6), Output(2))),
    )
    return tuple(random.sample(choices, random.randint(0, 4)))


def random_ct(random: Random, match: Match) -> Ct:
    """Choose one for a match on IP packets; OVS refuses to commit what is matched as invalid."""
    invalid = any(term.field is f.CT_STATE and term.value & _INVALID for term in match.terms)
    commit = not invalid and random.random() < 0.5
    marks = (random_set(random, f.CT_MARK), random_set(random, f.CT_LABEL)) if commit else ()
    return Ct(
        zone=random.choice((0, 7, 0xFFFF, FieldBits(f.REG6, random.randint(0, 16), 16))),
        commit=commit,
        force=commit and random.random() < 0.5,
        table=random.choice((None, 0, 30, 254)),
        actions=marks[: random.randint(0, 2)],
    )


def random_flow(random: Random, table: int = 20) -> Flow:
    match, actions = random_match(random), random_actions(random)
    if any(term in match.terms for term in _IS_IP):
        actions += tuple(random_ct(random, match) for _ in range(random.randint(0, 2)))
    return Flow(
        table=table,
        priority=random.getrandbits(16),
        match=match,
        actions=actions,
        goto=random.choice((None, table + 1)),
        cookie=random.getrandbits(64),
        idle_timeout=0,
    )


UNUSED_HERE = (DecTtl, PopVlan)
"They need an IP packet, a tag: the tests that use them say so."
