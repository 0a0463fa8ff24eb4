# SPDX-License-Identifier: Apache-2.0
"""How large a packet a network carries: what hosts' underlays take, less what GENEVE and its options add. Pure.

    underlay MTU = outer IP 20 or 40 + UDP 8 + GENEVE 8 + options + inner Ethernet 14 + the network's MTU

It is one figure for all of a network, over all hosts that are declared, so that it does not change as ports move.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.intent.intent import Intent
from controller.intent.model import HostSpec, Object
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH

OVERHEAD = {4: 50, 6: 70}
"Bytes of outer IP, UDP, GENEVE and inner Ethernet headers by IP version of the underlay, without options."


class Fit(NamedTuple):
    """The largest packet of a network, and the pair of hosts that allows no larger one."""

    mtu: int
    pair: tuple[str, str]
    "Empty names where fewer than two hosts can reach each other."


def options_length(intent: Intent, options: Iterable[str]) -> int:
    """Return the bytes that options take on the wire, headers included."""
    layouts = (intent.option_schemas[name].spec.layout for name in options)
    return sum(OPTION_HEADER_LENGTH + layout.length for layout in layouts)


def fit(intent: Intent, options: Iterable[str]) -> Fit | None:
    """Return what a network with these options carries between any two hosts; None when no host is declared."""
    if not intent.hosts:
        return None
    added = options_length(intent, options)
    classes = _narrowest(intent.hosts.values())
    pairs = [
        Fit(min(one.spec.underlay_mtu, other.spec.underlay_mtu) - OVERHEAD[version] - added, names)
        for one in classes
        for other in classes
        if (version := _family(one.spec, other.spec)) is not None
        and (names := (one.name, other.name) if one is not other else ("", ""))
    ]
    return min(pairs) if pairs else None


def _narrowest(hosts: Iterable[Object[HostSpec]]) -> list[Object[HostSpec]]:
    """Return the two hosts of the least MTU for each order of IP versions: no other pair carries less."""
    kinds = dict[tuple[int, ...], list[Object[HostSpec]]]()
    for host in sorted(hosts, key=lambda host: (host.spec.underlay_mtu, host.name)):
        same = kinds.setdefault(tuple(address.version for address in host.spec.endpoints), [])
        if len(same) < 2:
            same.append(host)
    return [host for same in kinds.values() for host in same]


def _family(source: HostSpec, destination: HostSpec) -> int | None:
    """Return the IP version by which one host sends to another: the preferred one of those it can reach."""
    own = {address.version for address in source.endpoints}
    return next((address.version for address in destination.endpoints if address.version in own), None)
