# SPDX-License-Identifier: Apache-2.0
"""How large a packet a network carries: what hosts' underlays take, less what GENEVE and its options add. Pure.

    underlay MTU = outer IP 20 or 40 + UDP 8 + GENEVE 8 + options + inner Ethernet 14 + the network's MTU

A network of IP has no inner Ethernet header (RFC 8926 3.4). Devices of Linux hosts that send no options are counted as
if they did: the figure is that of the network.

It is one figure for all of a network, over all hosts that are declared, so that it does not change as ports move.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from controller.intent.intent import Intent
from controller.intent.model import HostSpec, NetworkSpec, Object, Payload
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH

OVERHEAD = {4: 50, 6: 70}
"Bytes of outer IP, UDP, GENEVE and inner Ethernet headers by IP version of the underlay, without options."

_ETHERNET = 14
"Bytes of an Ethernet header."


class Fit(NamedTuple):
    """The largest packet, and the pair of hosts that allows no larger one."""

    mtu: int
    pair: tuple[str, str]


class _Narrow(NamedTuple):
    mtu: int
    name: str
    versions: tuple[int, ...]
    "IP versions of the endpoints, preferred first."


@dataclass(frozen=True, slots=True)
class Underlay:
    """What hosts' underlays carry: of each sort of host the two narrowest, since no other pair carries less."""

    narrowest: tuple[_Narrow, ...] = ()
    is_declared: bool = True
    "No host leaves its MTU open: what comes of it is no assumption."

    @classmethod
    def of(cls, hosts: Iterable[Object[HostSpec]]) -> Underlay:
        """Take in all hosts."""
        sorts = dict[tuple[int, ...], list[_Narrow]]()
        is_declared = True
        for host in hosts:
            is_declared = is_declared and host.spec.underlay_mtu is not None
            versions = tuple(dict.fromkeys(address.version for address in host.spec.endpoints))
            sort = sorts.setdefault(versions, [])
            sort.append(_Narrow(host.spec.assumed_mtu, host.name, versions))
            if len(sort) > 2:
                sort.remove(max(sort))
        return cls(tuple(sorted(narrow for sort in sorts.values() for narrow in sort)), is_declared)

    def fit(self, added: int = 0) -> Fit | None:
        """Return what fits between any two hosts beside `added`; None when no two hosts reach each other."""
        pairs = [
            Fit(min(one.mtu, other.mtu) - OVERHEAD[version] - added, (one.name, other.name))
            for one in self.narrowest
            for other in self.narrowest
            if (one is not other or len(self.narrowest) == 1)
            and (version := _family(one.versions, other.versions)) is not None
        ]
        return min(pairs, default=None)


def options_length(intent: Intent, network: str, options: Iterable[str]) -> int:
    """Return the bytes that a network's options take on the wire, those that are on their way out among them."""
    leaving = (intent.rollouts[name].spec for name in intent.rollouts_of(network))
    schemas = {*options, *(one.schema for one in leaving if not one.incoming)}
    layouts = (intent.option_schemas[name].spec.layout for name in schemas)
    return sum(OPTION_HEADER_LENGTH + layout.length for layout in layouts)


def added_length(intent: Intent, network: str, spec: NetworkSpec) -> int:
    """Return the bytes that a network's packets have beyond OVERHEAD: options, less the Ethernet header of IP alone."""
    saved = _ETHERNET if spec.payload is Payload.IP else 0
    return options_length(intent, network, spec.options) - saved


def network_fit(intent: Intent, network: str, underlay: Underlay) -> Fit | None:
    """Return what a stored network carries."""
    return underlay.fit(added_length(intent, network, intent.networks[network].spec))


def _family(source: tuple[int, ...], destination: tuple[int, ...]) -> int | None:
    """Return the IP version by which one host sends to another: the preferred one of those it can reach."""
    return next((version for version in destination if version in source), None)
