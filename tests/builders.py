# SPDX-License-Identifier: Apache-2.0
"""Short ways to say what tests of the compiler and the reconciler need; specs are those of the intent tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.compiler.compile import Compiler
from controller.compiler.cookies import Feature
from controller.compiler.stencil import seal_flows
from controller.hoststate import EncodedFlow, HostDelta, HostState, flows_of
from controller.intent.commands import Bind, Command, Unbind, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import Kind, PolicyAction
from ovs_geneve.openflow.flow import Flow
from tests.unit.intent.builders import (
    after,
    delete,
    group,
    group_policy,
    host,
    network,
    policy,
    port,
    put,
    rested,
    rolled_out,
    schema,
)

__all__ = (
    "EMPTY",
    "Fabric",
    "after",
    "apply_delta",
    "bind",
    "delete",
    "drop_policy",
    "group",
    "group_policy",
    "host",
    "network",
    "policy",
    "port",
    "put",
    "rested",
    "rolled_out",
    "schema",
    "seal_flow",
    "small_fabric",
    "unbind",
)

EMPTY = HostState(tlv_maps=frozenset(), flows={}, groups={})


def bind(port_name: str, host_name: str) -> Bind:
    return Bind(port=port_name, host=host_name)


def unbind(port_name: str) -> Unbind:
    return Unbind(port=port_name)


def drop_policy(network_name: str, matches: Mapping[str, tuple[int, int]] = {}, **rest):
    return policy(network_name, matches, action=PolicyAction.DROP, **rest)


@dataclass
class Fabric:
    """An intent and the compiler that follows it."""

    intent: Intent = field(default_factory=Intent)
    compiler: Compiler = field(default_factory=Compiler)
    ofports: dict[str, dict[str, int]] = field(default_factory=dict)

    def do(self, *commands: Command) -> Mapping[str, HostDelta]:
        """Carry commands out as one batch; return what hosts must change."""
        changes = []
        for command in commands:
            decision = evaluate(self.intent, command)
            if decision.changes:
                self.intent = self.intent.with_changes(decision.changes, self.intent.revision + 1)
                changes += decision.changes
        pending = self.compiler.update(self.intent, merged(changes))
        return {name: delta for name, change in pending.items() if (delta := change.delta())}

    def plug(self, host_name: str, **ofports: int) -> HostDelta:
        """Say which interfaces a host has, besides those it had; 0 unplugs."""
        known = {**self.ofports.get(host_name, {}), **ofports}
        self.ofports[host_name] = {name: ofport for name, ofport in known.items() if ofport}
        change = self.compiler.update_ofports(host_name, dict(self.ofports[host_name]))
        return HostDelta() if change is None else change.delta()

    def key(self, kind: Kind, name: str) -> int:
        held = self.intent.get(kind, name)
        assert held is not None
        return held.key


def apply_delta(state: HostState, delta: HostDelta) -> HostState:
    """Return what a bridge holds after a delta; deleting what is not there is a mistake of the delta."""
    flows, groups = dict(state.flows), dict(state.groups)
    for held, changes in ((flows, delta.flows), (groups, delta.groups)):
        for key, new in changes.items():
            if new is None:
                del held[key]
            else:
                held[key] = new
    maps, released = state.tlv_maps, state.released
    if delta.tlv_maps is not None:
        maps, released = delta.tlv_maps, delta.released
    meters = state.meters if delta.meters is None else delta.meters
    return HostState(tlv_maps=maps, flows=flows, groups=groups, released=released, meters=meters)


def seal_flow(flow: Flow, feature: Feature, object_key: int, salt: bytes = b"") -> EncodedFlow:
    """Encode one flow as the compiler does."""
    (sealed,) = flows_of(seal_flows((flow,), feature, object_key, salt))
    return sealed


def small_fabric() -> Fabric:
    """Two hosts; a port of blue on each, dual stack and with an option, plugged in."""
    fabric = Fabric()
    fabric.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("blue", network(100, "context", values={"context.zone": 7})),
        put("web1", port("blue", 1, "10.0.0.1", "2001:db8::1", values={"context.tier": 2})),
        put("db1", port("blue", 2, "10.0.0.2", "2001:db8::2")),
        bind("web1", "hv1"),
        bind("db1", "hv2"),
    )
    fabric.plug("hv1", web1=1)
    fabric.plug("hv2", db1=1)
    return fabric
