# SPDX-License-Identifier: Apache-2.0
"""From a compiler's snapshot to a proof, or to the packet that breaks it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.compiler.cookies import parse
from controller.compiler.pipeline import Table
from controller.compiler.recompute import Snapshot
from controller.intent.intent import Intent
from controller.intent.model import Kind
from controller.proof.bridge import Bridge
from controller.proof.facts import Facts, facts_of
from controller.proof.packets import Packets, Step
from controller.proof.prover import Finding, Ingress, Prover, Tally
from controller.proof.report import Doubt, Hop, Proof, Violation
from controller.proof.sources import SOURCE_FIELDS
from controller.proof.space import Layout, Unprovable
from controller.proof.witness import alone, described, samples
from ovs_geneve.openflow.flow import Flow, GroupEntry
from ovs_geneve.openflow.mod_decoder import decode_flow, decode_group

MAX_SHOWN = 10
"Violations, one a way in, until the proof ends."

_FINDINGS = 40
"Findings of one way in that a packet is looked for."

HostFlows = tuple[tuple[Flow, ...], tuple[GroupEntry, ...]]


def prove(snapshot: Snapshot) -> Proof:
    """Prove that the flows of a snapshot isolate its networks."""
    lengths = {one.index: one.length for one in snapshot.tlv_maps}
    facts = facts_of(snapshot.intent, snapshot.ofports)
    return prove_flows(facts, decoded_hosts(snapshot), lengths, snapshot.intent)


def decoded_hosts(snapshot: Snapshot) -> dict[str, HostFlows]:
    """Read the flows and groups of hosts back from their bytes; what hosts share is read once."""
    known: dict[int, tuple[Flow, ...]] = {}
    hosts = {}
    for host, layers in snapshot.layers_of.items():
        flows: dict[bytes, Flow] = {}
        groups: list[GroupEntry] = []
        fragments = (one for layer in layers for one in snapshot.layers.get(layer, {}).values())
        for fragment in fragments:
            if fragment.except_host == host:
                continue
            if id(fragment) not in known:
                known[id(fragment)] = tuple(decode_flow(held.message) for held in fragment.flows)
            flows.update((flow.key, flow) for flow in known[id(fragment)])
            groups += [decode_group(group.message) for group in fragment.groups]
        if host in snapshot.intent.hosts:
            hosts[host] = tuple(flows.values()), tuple(groups)
    return hosts


def prover_of(facts: Facts, hosts: Mapping[str, HostFlows], lengths: Mapping[int, int]) -> Prover:
    """Build the model of all bridges; `lengths` are the bytes of mapped options by slot."""
    layout = Layout(lengths)
    source_mask = layout.mask_of(SOURCE_FIELDS)
    bridges = {
        host: Bridge(host, layout, flows, groups, source_mask) for host, (flows, groups) in hosts.items()
    }
    return Prover(layout, facts, bridges)


def prove_flows(
    facts: Facts, hosts: Mapping[str, HostFlows], lengths: Mapping[int, int], intent: Intent
) -> Proof:
    """Prove that flows isolate the networks of the facts; the intent is asked for names and its revision alone."""
    found: list[Violation | Doubt] = []
    tally = Tally()
    try:
        prover = prover_of(facts, hosts, lengths)
        tally = prover.tally
        for some in together(prover.ways_in()):
            found += _judged(prover, some, MAX_SHOWN - len(found), intent)
            if len(found) >= MAX_SHOWN:
                break
    except Unprovable as error:
        found.append(Doubt(sender="", reason=str(error)))
    return Proof(
        revision=intent.revision,
        hosts=len(hosts),
        networks=len(facts.networks),
        ports=sum(len(facts.hosts[host].ports) for host in hosts),
        flows=sum(len(flows) for flows, _ in hosts.values()),
        sets=tally.sets,
        deliveries=tally.deliveries,
        violations=tuple(one for one in found if isinstance(one, Violation)),
        doubts=tuple(one for one in found if isinstance(one, Doubt)),
    )


def together(ways: Iterable[Ingress]) -> Iterator[list[Ingress]]:
    """Yield the ways in that are followed together: ports of one network; all others each by itself."""
    of_network: dict[str, list[Ingress]] = defaultdict(list)
    for ingress in ways:
        if ingress.port is None:
            yield [ingress]
        else:
            of_network[ingress.port.network].append(ingress)
    yield from of_network.values()


def _judged(prover: Prover, some: Sequence[Ingress], at_most: int, intent: Intent) -> list[Violation | Doubt]:
    """Follow what comes in these ways; where that looks wrong, look closer."""
    found: list[Violation | Doubt] = []
    for ingress in prover.suspects(some):
        try:
            one = _looked_closer(prover, ingress, intent)
        except Unprovable as error:
            one = Doubt(sender=ingress.sender, reason=str(error))
        if one is not None:
            found.append(one)
        if len(found) >= at_most:
            break
    return found


def _looked_closer(prover: Prover, ingress: Ingress, intent: Intent) -> Violation | Doubt | None:
    host = prover.facts.hosts[ingress.host]
    traced = next(one for one in prover.ways_into(host, traced=True) if one.sender == ingress.sender)
    doubt = None
    for number, finding in enumerate(prover.findings(traced, traced.packets)):
        if number == _FINDINGS:
            break
        doubt = doubt or Doubt(sender=ingress.sender, reason=f"{finding.reason} ({finding.breach})")
        for value in samples(prover.layout, finding.packets):
            packet = alone(prover.layout, value, ingress.packets)
            shown = next(prover.findings(traced, packet), None)
            if shown is not None:
                return _violation(prover, ingress, packet, shown, intent)
    return doubt


def _violation(
    prover: Prover, ingress: Ingress, packet: Packets, finding: Finding, intent: Intent
) -> Violation:
    return Violation(
        breach=finding.breach,
        reason=finding.reason,
        sender=ingress.sender,
        packet=described(prover.layout, packet),
        path=tuple(_path(finding.packets.step, intent)),
        out_of=finding.where,
    )


def _path(step: Step | None, intent: Intent) -> Iterator[Hop]:
    steps = []
    while step is not None:
        steps.append(step)
        step = step.before
    names = names_by_key(intent)
    for one in reversed(steps):
        table = Table(one.table).name.lower() if one.table in set(Table) else str(one.table)
        key = parse(one.cookie).object_key
        yield Hop(
            host=one.host,
            table=table,
            priority=one.priority,
            cookie=one.cookie,
            caused_by=names.get(key, "") if key else "",
        )


def names_by_key(intent: Intent) -> dict[int, str]:
    """Return objects by the key that their flows' cookies carry."""
    kinds: Iterable[Kind] = (kind for kind in Kind if kind is not Kind.BINDING)
    return {held.key: held.id for kind in kinds for held in intent.objects(kind).values()}


__all__ = ("decoded_hosts", "prove", "prove_flows", "prover_of")
