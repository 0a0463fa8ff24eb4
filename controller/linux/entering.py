# SPDX-License-Identifier: Apache-2.0
"""Policies of the receiver, at its interface: where packets leave the bridge, whatever way they came.

    chain 0   ARP, neighbour discovery ─► in
              came through a tunnel    ─► OPTIONS, by the list of its options ─► BY_LIST + …, OTHER_OPTIONS ┐ verdict of
              from next door           ─► by source MAC ─► BY_SENDER + key of the port                      ┘ options
              no mark: the kernel      ─► dropped
    GROUPS    the sender's group, if a policy speaks of it ─► BY_GROUP + identity: verdict of groups
              anybody else                                 ─► BY_GROUP

Where no option policy is about a port, chain 0 does what GROUPS does; where none at all is, there are no filters. One
that is let in by its options goes on to GROUPS if a policy protects the port's group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

from controller.compiler.features.protocols import ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from controller.compiler.views import slot_of
from controller.linux.decisions import DROP, PASS, Actions, Decision, chain_of
from controller.linux.groups import GroupRule, decisions, identities_named
from controller.linux.layout import (
    BY_GROUP,
    BY_LIST,
    BY_SENDER,
    FIRST,
    GROUPS,
    LAST,
    OPTIONS,
    OTHER_OPTIONS,
    OURS,
    SENDER_MASK,
    TUNNELLED,
    mark_of,
)
from controller.linux.option_lists import Schema, lists_of, match_of
from controller.linux.option_rules import OptionRule, packets_of_list, packets_of_sender, speaking_of_sender
from controller.linux.views import LinuxNetwork, LocalPort
from ovs_geneve.kernel.objects import Filter, Flower, Fw, Goto, Match, MatchAll, Protocol
from ovs_geneve.values import mac_text

_FROM_TUNNEL = OURS | TUNNELLED
_LIST_BITS = 0xFFFF


def filters(
    network: LinuxNetwork, port: LocalPort, by_group: Sequence[GroupRule], by_option: Sequence[OptionRule]
) -> Iterator[Filter]:
    """Yield the egress filters of a port's interface."""
    if not by_group and not by_option:
        return
    device = port.interface
    yield from _neighbours(device)
    if by_option:
        yield from _by_option(network, device, by_option, (Goto(chain=GROUPS),) if by_group else PASS)
        yield _filter(device, 0, LAST, MatchAll(), DROP)
    if by_group:
        yield from _by_group(device, GROUPS if by_option else 0, by_group)


def _neighbours(device: str) -> Iterator[Filter]:
    yield _filter(device, 0, FIRST, MatchAll(), PASS, protocol="arp")
    for number, icmp_type in enumerate((NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT), 1):
        match = Flower(ip_proto=ICMPV6, icmp_type=icmp_type)
        yield _filter(device, 0, FIRST + 1, match, PASS, protocol="ipv6", handle=number)


def _by_group(device: str, chain: int, rules: Sequence[GroupRule]) -> Iterator[Filter]:
    named = sorted(identities_named(rules))
    for identity in named:
        mark = mark_of(identity)
        sender = Fw(mark=mark, mask=SENDER_MASK)
        yield _filter(device, chain, FIRST + 2, sender, (Goto(chain=BY_GROUP + identity),), handle=mark)
    yield _filter(device, chain, FIRST + 3, Fw(mark=OURS, mask=OURS), (Goto(chain=BY_GROUP),), handle=OURS)
    yield _filter(device, chain, LAST, MatchAll(), DROP)
    for identity in (0, *named):
        yield from chain_of(device, BY_GROUP + identity, decisions(rules, identity), PASS, DROP)


def _by_option(
    network: LinuxNetwork, device: str, rules: Sequence[OptionRule], onward: Actions
) -> Iterator[Filter]:
    rest = DROP if any(rule.allow for rule in rules) else onward
    tunnelled = Fw(mark=_FROM_TUNNEL, mask=_FROM_TUNNEL)
    yield _filter(device, 0, FIRST + 2, tunnelled, (Goto(chain=OPTIONS),), handle=_FROM_TUNNEL)
    for number, (chain, schemas) in enumerate(_chains(lists_of(network.view))):
        match = Flower(enc_options=match_of(schemas, {}))
        yield _filter(device, OPTIONS, FIRST + number, match, (Goto(chain=chain),))
        yield from chain_of(device, chain, _of_list(network, rules, schemas), onward, rest)
    yield _filter(device, OPTIONS, LAST, MatchAll(), (Goto(chain=OTHER_OPTIONS),))
    yield from chain_of(device, OTHER_OPTIONS, _of_list(network, rules, ()), onward, rest)
    for sender in network.local.values():
        chain = BY_SENDER + sender.view.key
        match = Flower(src_mac=mac_text(sender.view.mac))
        yield _filter(device, 0, FIRST + 3, match, (Goto(chain=chain),), handle=sender.view.key)
        speaking = speaking_of_sender(rules, sender.view, network.view)
        said = (_decision(rule, *one) for rule in speaking for one in packets_of_sender(rule))
        yield from chain_of(device, chain, said, onward, rest)


def _of_list(
    network: LinuxNetwork, rules: Iterable[OptionRule], schemas: tuple[Schema, ...]
) -> Iterator[Decision]:
    for rule in rules:
        for one in packets_of_list(rule, schemas, network.view):
            yield _decision(rule, *one)


def _decision(rule: OptionRule, protocol: Protocol, match: Flower) -> Decision:
    return Decision(rule.key, rule.spec.priority, rule.allow, protocol, match)


def _chains(lists: Iterable[tuple[Schema, ...]]) -> Iterator[tuple[int, tuple[Schema, ...]]]:
    """Give each list of options a chain, the same whatever other lists there are, unless two would have one."""
    taken = set[int]()
    for schemas in lists:
        if schemas:
            number = crc32(bytes(map(slot_of, schemas))) & _LIST_BITS
            while number in taken:
                number = number + 1 & _LIST_BITS
            taken.add(number)
            yield BY_LIST + number, schemas


def _filter(
    device: str,
    chain: int,
    preference: int,
    match: Match,
    actions: Actions,
    *,
    protocol: Protocol = "all",
    handle: int = 1,
) -> Filter:
    return Filter(
        device=device,
        egress=True,
        chain=chain,
        preference=preference,
        protocol=protocol,
        handle=handle,
        match=match,
        actions=actions,
    )
