# SPDX-License-Identifier: Apache-2.0
"""Option policies of the destination, as far as they are verdicts: what they ask of a packet, where it is known when.

What a port of the own host sends carries the port's values, so which policies speak of it is known beforehand. What
came through a tunnel still has its options where it leaves the bridge, and flower looks at them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from msgspec.structs import replace

from controller.compiler.views import NetworkView, PortView
from controller.intent.conditions import IPV4, IPV6, ethertypes_of, narrow
from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Direction, Object, OptionPolicySpec, PolicyAction, PortSpec
from controller.intent.rules import PortRange
from controller.linux.layout import mac_text
from controller.linux.option_lists import Schema, Wanted, match_of, wanted_group
from ovs_geneve.kernel.objects import Flower, Protocol

_PROTOCOLS: dict[int | None, Protocol] = {None: "all", IPV4: "ip", IPV6: "ipv6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRule:
    """An option policy that lets packets to a port in, or keeps them out."""

    key: int
    spec: OptionPolicySpec
    sender_mac: str | None
    wanted: tuple[tuple[str, tuple[int, int]], ...]
    "Value and mask of options by schema: what the policy matches, and the group that it speaks of."

    @property
    def allow(self) -> bool:
        """Tell whether it lets packets in."""
        return self.spec.action is PolicyAction.ALLOW


def rules_at(intent: Intent, port: Object[PortSpec], network: NetworkView) -> tuple[OptionRule, ...]:
    """Return the option policies about what is sent to a port, by key."""
    held = (intent.option_policies[name] for name in intent.policies_of(port.spec.network))
    rules = (_rule(intent, one, network) for one in held if _is_to(one.spec, port))
    return tuple(sorted(rules, key=lambda rule: rule.key))


def speaking_of_sender(
    rules: Iterable[OptionRule], sender: PortView, network: NetworkView
) -> Iterator[OptionRule]:
    """Yield the policies that speak of what a port of the own host sends."""
    data = {schema.name: value for schema, (_, value) in zip(network.stamped, sender.stamps, strict=True)}
    known = {one.name: 0 for one in network.arriving} | data
    mac = mac_text(sender.mac)
    for rule in rules:
        met = all(name in known and known[name] & mask == value for name, (value, mask) in rule.wanted)
        if met and rule.sender_mac in (None, mac):
            yield rule


def packets_of_sender(rule: OptionRule) -> Iterator[tuple[Protocol, Flower]]:
    """Yield what matches a policy's packets where the sender is known to be such that it speaks of it."""
    yield from _packets(rule.spec)


def packets_of_list(
    rule: OptionRule, schemas: tuple[Schema, ...], network: NetworkView
) -> Iterator[tuple[Protocol, Flower]]:
    """Yield what matches a policy's packets among those with this list of options."""
    there = {one.name for one in schemas}
    unset = {one.name for one in network.arriving} - there
    wanted = {name: bits for name, bits in rule.wanted if name in there}
    absent = [(name, value) for name, (value, _) in rule.wanted if name not in there]
    if any(name not in unset or value for name, value in absent):
        # What is on its way in reads 0 where it is not yet; what is not carried has no value.
        return
    options = match_of(schemas, wanted) if wanted else ()
    for protocol, flower in _packets(rule.spec):
        yield protocol, replace(flower, src_mac=rule.sender_mac or flower.src_mac, enc_options=options)


def _rule(intent: Intent, policy: Object[OptionPolicySpec], network: NetworkView) -> OptionRule:
    spec = policy.spec
    sender = None if spec.from_port is None else intent.ports[spec.from_port].spec.mac
    return OptionRule(
        key=policy.key,
        spec=spec,
        sender_mac=None if sender is None else mac_text(sender),
        wanted=tuple(sorted(_wanted(intent, spec, network).items())),
    )


def _wanted(intent: Intent, spec: OptionPolicySpec, network: NetworkView) -> Wanted:
    layouts = {one.name: one.spec.layout for one in network.options}
    merged = dict[str, tuple[int, int]]()
    for one in spec.match:
        value, mask = layouts[one.schema].match_bits(one.field, one.value, one.mask)
        before = merged.get(one.schema, (0, 0))
        merged[one.schema] = before[0] | value, before[1] | mask
    if spec.from_group is not None:
        (value, mask) = wanted_group(intent, spec.from_group)
        before = merged.get(IDENTITY, (0, 0))
        merged[IDENTITY] = before[0] | value, before[1] | mask
    return merged


def _is_to(spec: OptionPolicySpec, port: Object[PortSpec]) -> bool:
    return (
        spec.direction is Direction.INGRESS
        and spec.to_port in (None, port.name)
        and spec.to_group in (None, port.spec.group)
    )


def _packets(spec: OptionPolicySpec) -> Iterator[tuple[Protocol, Flower]]:
    packet = spec.packet
    source, destination = narrow(packet.source), narrow(packet.destination)
    base = Flower(
        src_mac=None if packet.source_mac is None else mac_text(packet.source_mac),
        dst_mac=None if packet.destination_mac is None else mac_text(packet.destination_mac),
        ip_proto=packet.protocol,
        src_ip=None if source is None else str(source),
        dst_ip=None if destination is None else str(destination),
    )
    sources: tuple[PortRange | None, ...] = packet.source_ports or (None,)
    destinations: tuple[PortRange | None, ...] = packet.destination_ports or (None,)
    for ethertype in ethertypes_of(spec):
        protocol = _PROTOCOLS[ethertype]
        if spec.action is PolicyAction.DROP and (packet.source_ports or packet.destination_ports):
            # Fragments show no ports.
            yield protocol, replace(base, fragment=True)
        for one, other in product(sources, destinations):
            ports = (
                None if one is None else (one.first, one.last),
                None if other is None else (other.first, other.last),
            )
            yield protocol, replace(base, src_ports=ports[0], dst_ports=ports[1])
