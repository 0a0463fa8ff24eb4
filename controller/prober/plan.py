# SPDX-License-Identifier: Apache-2.0
"""Which directions between which hosts are to be proved, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from controller.compiler.views import network_view, slot_of
from controller.errors import Invalid, NotFound
from controller.intent.intent import Intent
from controller.intent.model import PROBE_VNI, Address, Kind, NetworkSpec, Object, object_id
from controller.intent.mtu import OVERHEAD, Underlay, network_fit
from controller.prober.model import Carried, Leg, Target

MAX_LEGS = 50_000
"Of a run: at the prober's rate more than a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants proved."""

    network: str | None = None
    "None is all of them."
    pairs: tuple[tuple[str, str], ...] | None = None
    "Source and destination hosts; None is every pair of hosts with a port of the network, Linux hosts left out."
    all_hosts: bool = False
    "Take in hosts without a port of the network, too."
    timeout: float = 60.0
    "Seconds until the run ends with what it knows."


def legs(intent: Intent, request: Request) -> list[Leg]:
    """Return what a request comes to; raise NotFound for a network, Invalid for a host that is not there."""
    if request.network is not None and request.network not in intent.networks:
        raise NotFound(
            "not-found", f"there is no {object_id(Kind.NETWORK, request.network)}", pointer="/network"
        )
    _check_pairs(intent, request.pairs or ())
    names = sorted(intent.networks) if request.network is None else [request.network]
    underlay = Underlay.of(intent.hosts.values())
    every = (leg for name in names for leg in _legs_of(intent, name, request, underlay))
    found = list(islice(every, MAX_LEGS + 1))
    if len(found) > MAX_LEGS:
        reason = f"more than {MAX_LEGS:,} directions between hosts: name a network, or pairs of hosts"
        raise Invalid("too-many-pairs", reason)
    return found


def target(intent: Intent, network: Object[NetworkSpec]) -> Target:
    """Resolve a network; its options are those that its packets may carry, the ones that are rolled out included."""
    view = network_view(intent, network)
    options = [Carried(layout=schema.spec.layout, slot=slot_of(schema)) for schema in view.options]
    return Target(network=network.name, vni=view.vni, options=tuple(options))


def _check_pairs(intent: Intent, pairs: Iterable[tuple[str, str]]) -> None:
    for number, pair in enumerate(pairs):
        for end, host in enumerate(pair):
            if host not in intent.hosts:
                reason = f"there is no {object_id(Kind.HOST, host)}"
                raise Invalid("host-unknown", reason, pointer=f"/pairs/{number}/{end}")
            if host in intent.linux_hosts:
                reason = f"{object_id(Kind.HOST, host)} has no Open vSwitch: probes go through OpenFlow"
                raise Invalid("host-cannot-probe", reason, pointer=f"/pairs/{number}/{end}")
        if pair[0] == pair[1]:
            reason = f"{pair[0]} twice: a tunnel has two ends"
            raise Invalid("pair-invalid", reason, pointer=f"/pairs/{number}")


def _pairs(intent: Intent, network: str, request: Request) -> Sequence[tuple[str, str]]:
    if request.pairs is not None:
        return request.pairs
    if request.all_hosts:
        return list(_ordered_pairs(sorted(host for host in intent.hosts if host not in intent.linux_hosts)))
    seats = {intent.host_of(port) for port in intent.ports_of(network)}
    bridges = (host for host in seats if host in intent.hosts and host not in intent.linux_hosts)
    return list(_ordered_pairs(sorted(host for host in bridges if host is not None)))


def _ordered_pairs(hosts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield all pairs, spread out: of as many in a row as there are hosts each is source and destination once."""
    for distance in range(1, len(hosts)):
        for at, source in enumerate(hosts):
            yield source, hosts[(at + distance) % len(hosts)]


def _legs_of(intent: Intent, name: str, request: Request, underlay: Underlay) -> Iterator[Leg]:
    network = target(intent, intent.networks[name])
    apart = replace(network, vni=PROBE_VNI)
    fit = network_fit(intent, name, underlay)
    for source, destination in _pairs(intent, name, request):
        own, far = intent.hosts[source].spec, intent.hosts[destination].spec
        carried = min(own.assumed_mtu, far.assumed_mtu)
        # Where no version is common to both, the leg says so.
        for version in _versions(own.endpoints, far.endpoints) or (far.endpoints[0].version,):
            room = carried - OVERHEAD[version] - network.options_length
            yield Leg(
                target=apart if own.takes_oam or far.takes_oam else network,
                source=source,
                destination=destination,
                addresses=frozenset(_of_version(own.endpoints, version)),
                towards=_of_version(far.endpoints, version)[0],
                wanted_mtu=room if fit is None else min(room, fit.mtu),
            )


def _versions(own: Iterable[Address], far: Iterable[Address]) -> tuple[int, ...]:
    common = {address.version for address in own} & {address.version for address in far}
    return tuple(sorted(common))


def _of_version(endpoints: Iterable[Address], version: int) -> list[Address]:
    return [address for address in endpoints if address.version == version]
