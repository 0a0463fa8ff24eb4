# SPDX-License-Identifier: Apache-2.0
"""A network of bridges that do with probes what the pipeline's flows do, and can be broken in every way."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import count

from controller.prober.model import Carried, Leg, Result, Shot, Sighting, Target
from controller.prober.pace import Limits
from controller.prober.patterns import data_of, options_of
from controller.prober.run import ProbeRun
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.probe import Probe, encode
from ovs_geneve.values import OptionClass, OptionType

RUN = 0x1234_5678_9ABC_DEF0


def layout(name: str, kind: int, length: int, **fields: tuple[int, int]) -> OptionLayout:
    return OptionLayout(
        name=name,
        option_class=OptionClass(0xFF00),
        option_type=OptionType(kind),
        length=length,
        fields=tuple(
            OptionField(name=field, kind=FieldKind.UINT, offset=offset, bits=bits)
            for field, (offset, bits) in fields.items()
        ),
    )


CONTEXT = Carried(layout=layout("context", 1, 4, tier=(0, 8), zone=(8, 16)), slot=0)
TRAIL = Carried(layout=layout("trail", 2, 12, first=(0, 32), last=(64, 32)), slot=3)
BLUE = Target(network="blue", vni=100, options=(CONTEXT, TRAIL))
PLAIN = Target(network="plain", vni=7)


def endpoint(host: str) -> str:
    return f"192.0.2.{host.removeprefix('hv')}"


def leg(source: str = "hv1", destination: str = "hv2", target: Target = BLUE) -> Leg:
    return Leg(
        target=target,
        source=source,
        destination=destination,
        addresses=frozenset({ip_address(endpoint(source))}),
        towards=ip_address(endpoint(destination)),
        wanted_mtu=1450 - target.options_length,
    )


def mesh(hosts: int, target: Target = BLUE) -> list[Leg]:
    names = [f"hv{number}" for number in range(1, hosts + 1)]
    distances = range(1, hosts)
    return [
        leg(one, names[(at + distance) % hosts], target)
        for distance in distances
        for at, one in enumerate(names)
    ]


@dataclass
class Network:
    """Carries shots to their far end and back. Time goes by as it says."""

    latency: float = 0.001
    passes: Callable[[Shot], bool] = lambda shot: True
    "Whether a request arrives."
    comes_back: Callable[[Shot], bool] = lambda shot: True
    alter: Callable[[Shot, Sighting], Sighting] = lambda shot, sighting: sighting
    away: frozenset[str] = frozenset()
    "Hosts whose bridges are not connected."
    sent: list[tuple[float, Shot]] = field(default_factory=list)
    now: float = 100.0

    def run(self, legs: list[Leg], *, timeout: float = 60.0, limits: Limits | None = None) -> list[Result]:
        watched = {host for one in legs for host in (one.source, one.destination)} - self.away
        run = ProbeRun(RUN, legs, watched, self.now, timeout, limits or Limits())
        arrivals: list[tuple[float, int, str, Sighting]] = []
        number = count()
        while not run.finished:
            for shot in run.take(self.now):
                self.sent.append((self.now, shot))
                if shot.leg.source in self.away:
                    run.unsent(shot, f"the bridge of {shot.leg.source} is not connected")
                    continue
                for delay, host, sighting in self._fate(shot):
                    heapq.heappush(arrivals, (self.now + delay, next(number), host, sighting))
            wake = self.now + run.due(self.now)
            while arrivals and arrivals[0][0] <= wake and not run.finished:
                at, _, host, sighting = heapq.heappop(arrivals)
                run.arrived(host, sighting, at)
                self.now = max(self.now, at)
                wake = min(wake, self.now + run.due(self.now))
            self.now = max(self.now, wake)
        self.took = run
        return list(run.results())

    def _fate(self, shot: Shot):
        if not self.passes(shot):
            return
        probe = Probe(run=RUN, sequence=shot.sequence, pattern=shot.pattern, size=shot.size)
        carried = options_of(shot.leg.target, shot.pattern)
        sighting = Sighting(
            frame=encode(probe),
            vni=shot.leg.target.vni,
            source=next(iter(shot.leg.addresses)),
            options={one.slot: data_of(one, shot.pattern) for one in carried},
        )
        sighting = self.alter(shot, sighting)
        if shot.leg.destination not in self.away:
            yield self.latency, shot.leg.destination, sighting
        if self.comes_back(shot):
            back = replace(sighting, frame=encode(replace(probe, echo=True)), source=shot.leg.towards)
            yield 2 * self.latency, shot.leg.source, back


def by_pair(results: list[Result]) -> Mapping[tuple[str, str], Result]:
    return {(one.leg.source, one.leg.destination): one for one in results}
