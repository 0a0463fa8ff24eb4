# SPDX-License-Identifier: Apache-2.0
"""What is to be known of a network to tell whether NICs can take its packets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    HostKind,
    NetworkSpec,
    OptionSchemaSpec,
    Payload,
    TunnelStyle,
)
from controller.intent.rules import Mirror, SetDscp, SetQueue
from ovs_geneve.offload.linux import Forwarding
from ovs_geneve.offload.verdict import Feature, NetworkUse, OptionUse

_FEATURE = {Mirror: Feature.MIRROR, SetQueue: Feature.QUEUE, SetDscp: Feature.DSCP}
"Of the actions of option policies; the others only set options, or choose a port."


def network_use(intent: Intent, name: str, udp_port: int = 6081) -> NetworkUse:
    """Return what a network's packets carry, what is read of it, and what its policies ask for."""
    read = frozenset(_read(intent, name))
    schemas = sorted(
        (intent.option_schemas[option] for option in intent.networks[name].spec.options),
        key=lambda schema: schema.spec.slot or 0,
    )
    hosts = [
        one.spec for one in intent.hosts.values() if one.spec.kind is HostKind.OVS and one.spec.endpoints
    ]
    return NetworkUse(
        options=tuple(
            OptionUse(name=one.name, length=one.spec.layout.length, read=one.name in read) for one in schemas
        ),
        features=frozenset(_features(intent, name)),
        underlay=frozenset(spec.endpoints[0].version for spec in hosts) or frozenset({4}),
        udp_port=udp_port,
        df=any(spec.tunables.df_default for spec in hosts),
    )


def linux_use(intent: Intent, name: str, udp_port: int = 6081) -> NetworkUse:
    """Return the same for hosts without Open vSwitch: where packets arrive their rules read the sender's group alone.

    Option policies are carried out behind the bridge there, and what would ask for more is refused.
    """
    use = network_use(intent, name, udp_port)
    hosts = (intent.hosts[host].spec for host in intent.linux_hosts)
    read = len(intent.policies_between(name)) > 0
    return replace(
        use,
        options=tuple(replace(one, read=read and one.name == IDENTITY) for one in use.options),
        features=frozenset(),
        underlay=frozenset(spec.endpoints[0].version for spec in hosts if spec.endpoints) or use.underlay,
    )


def forwarding(tunnels: TunnelStyle, network: NetworkSpec) -> Forwarding:
    """Return what of a Linux host's kernel has a network's packets."""
    if network.payload is Payload.IP:
        return Forwarding.ROUTES
    return Forwarding.DEVICES if tunnels is TunnelStyle.FIXED else Forwarding.FILTERS


def schema_use(name: str, spec: OptionSchemaSpec) -> NetworkUse:
    """Return what packets would be that carry one option, which some policy reads."""
    return NetworkUse(options=(OptionUse(name=name, length=spec.layout.length, read=True),))


def _read(intent: Intent, network: str) -> Iterator[str]:
    """Yield the options that some policy compares where packets arrive."""
    if len(intent.policies_between(network)):
        yield IDENTITY
    for name in intent.policies_of(network):
        policy = intent.option_policies[name].spec
        if policy.direction is Direction.INGRESS:
            yield from (match.schema for match in policy.match)
            if policy.from_group is not None:
                yield IDENTITY


def _features(intent: Intent, network: str) -> Iterator[Feature]:
    if any(intent.policies[name].spec.stateful for name in intent.policies_between(network)):
        yield Feature.CONNTRACK
    for name in intent.policies_of(network):
        for action in intent.option_policies[name].spec.actions:
            if type(action) in _FEATURE:
                yield _FEATURE[type(action)]
