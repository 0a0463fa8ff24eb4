# SPDX-License-Identifier: Apache-2.0
"""What the guard knows of one host, and what it makes of each dump of its megaflows. Pure: time is an argument.

    dump ─► cached drops that hit good packets ─► commands: take it out, put a shield in its place
         └► every kind of bad option           ─► offences: who, what, how many

Taking out one megaflow costs nobody else anything. Only where that does not help, everything is taken out
(`revalidator/purge`), rarely: all peers pay for that with an upcall a flow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from controller.guard.judge import Rules, Verdict, judge
from controller.guard.shield import is_shield, shield_of, ufid_of, verdict_of
from ovs_geneve.megaflow import TunnelMegaflow
from ovs_geneve.unixctl import Command

MAX_SHIELDS = 64
"A host's; a peer that tries every shape of option must not fill the datapath."

HOLD_SECONDS = 120.0
"How long a shield is put back after OVS took it out for lack of packets."

_STUBBORN = 3
"Looks at which a cached drop that was taken out is still there, until everything is taken out."

_PURGE_FIRST, _PURGE_MOST = 30.0, 480.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """Bad options of one kind, from one peer, in one network."""

    source: IPv4Address | IPv6Address
    vni: int
    verdict: Verdict
    packets: int
    "Since the last look."
    cuts_off: bool
    "Good packets of the peer met the same drop."


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and what to tell."""

    commands: tuple[Command, ...] = ()
    offences: tuple[Offence, ...] = ()


@dataclass(slots=True)
class _Shield:
    flow: str
    verdict: Verdict
    used: float


@dataclass(slots=True)
class Watch:
    """One host, as long as its ovs-vswitchd runs."""

    _packets: dict[str, int] = field(default_factory=dict)
    "Of bad megaflows, by ufid, at the last look."
    _shields: dict[str, _Shield] = field(default_factory=dict)
    _stubborn: dict[str, int] = field(default_factory=dict)
    "How often a cached drop was met again after it was taken out."
    _rules: Rules | None = None
    _next_purge: float = 0.0
    _purge_pause: float = _PURGE_FIRST

    @property
    def holds_shields(self) -> bool:
        """Tell whether there is anything to keep up."""
        return bool(self._shields)

    def look(
        self,
        flows: Iterable[TunnelMegaflow],
        rules: Rules,
        peers: frozenset[IPv4Address | IPv6Address],
        datapath: str,
        now: float,
    ) -> Decision:
        """Decide on a dump; strangers hurt only themselves, so megaflows of `peers` alone are looked at."""
        commands, offences = list[Command](), list[Offence]()
        packets, met = dict[str, int](), dict[str, int]()
        present = set[str]()
        if rules != self._rules:
            # What was bad may be good now.
            self._rules = rules
            commands += [("dpctl/del-flow", datapath, f"ufid:{ufid}") for ufid in self._shields]
            self._shields.clear()
        for flow in flows:
            if is_shield(flow.ufid):
                present.add(flow.ufid)
            if flow.source not in peers:
                continue
            verdict = self._verdict(flow, rules)
            if verdict is None:
                continue
            packets[flow.ufid] = flow.packets
            poisons = flow.refused_unseen and not is_shield(flow.ufid)
            # A kernel's megaflow matches on the length of all options: with another one it hits no good packet.
            cuts_off = poisons and flow.untold in (0, rules.good_length(flow.tun_id))
            offences += self._offence(flow, verdict, cuts_off, now)
            if poisons:
                # Nothing stands in for what is not told: the next bad packet brings it back, also after a purge.
                met[flow.ufid] = 0 if flow.untold else self._stubborn.get(flow.ufid, 0) + 1
                commands += self._cure(flow, verdict, rules, datapath, now)
        self._packets, self._stubborn = packets, met
        commands += self._put_back(present, datapath, now)
        commands += self._purge(now)
        return Decision(tuple(commands), tuple(offences))

    def _verdict(self, flow: TunnelMegaflow, rules: Rules) -> Verdict | None:
        shield = self._shields.get(flow.ufid)
        if shield is not None:
            return shield.verdict
        return verdict_of(flow) or judge(flow, rules)

    def _offence(
        self, flow: TunnelMegaflow, verdict: Verdict, cuts_off: bool, now: float
    ) -> Iterable[Offence]:
        before = self._packets.get(flow.ufid)
        # The packet that a megaflow was made for is not among those it counts; a shield was made for none.
        first = 0 if is_shield(flow.ufid) else 1
        new = flow.packets + first if before is None or flow.packets < before else flow.packets - before
        if flow.ufid in self._shields and new:
            self._shields[flow.ufid].used = now
        if new:
            yield Offence(
                source=flow.source, vni=flow.tun_id, verdict=verdict, packets=new, cuts_off=cuts_off
            )

    def _cure(
        self, flow: TunnelMegaflow, verdict: Verdict, rules: Rules, datapath: str, now: float
    ) -> Iterable[Command]:
        yield "dpctl/del-flow", datapath, f"ufid:{flow.ufid}"
        shield = shield_of(flow, rules)
        ufid = ufid_of(flow)
        if shield is not None and (ufid in self._shields or len(self._shields) < MAX_SHIELDS):
            self._shields[ufid] = _Shield(shield, verdict, now)
            yield "dpctl/add-flow", datapath, shield, "drop"

    def _put_back(self, present: set[str], datapath: str, now: float) -> Iterable[Command]:
        for ufid, shield in list(self._shields.items()):
            if now - shield.used > HOLD_SECONDS:
                del self._shields[ufid]
            elif ufid not in present and shield.used < now:
                yield "dpctl/add-flow", datapath, shield.flow, "drop"

    def _purge(self, now: float) -> Iterable[Command]:
        if now < self._next_purge or max(self._stubborn.values(), default=0) < _STUBBORN:
            return
        self._next_purge = now + self._purge_pause
        self._purge_pause = min(2 * self._purge_pause, _PURGE_MOST)
        yield ("revalidator/purge",)
