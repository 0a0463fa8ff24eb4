# SPDX-License-Identifier: Apache-2.0
"""What parts that are rules contribute: policies, groups, refused options, targets of load balancers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.compiler.cookies import Feature
from controller.compiler.features import groups, gwlb, option_firewall, policy, service
from controller.compiler.fragments import FABRIC, Fragment, FragmentId, Layer, LayerKind, shared_layer
from controller.compiler.group_views import group_policy_view, group_view
from controller.compiler.part import Part, Placed
from controller.compiler.policy_defaults import port_defaults, selected_port
from controller.compiler.policy_views import hop_view, policy_view
from controller.compiler.situation import Situation
from controller.compiler.stencil import seal_flows
from controller.compiler.views import NetworkView, option_field, slot_of, slots_salt
from controller.intent.checks.targets import slots_in_order
from controller.intent.intent import Intent
from controller.intent.model import NetworkSpec, Object, OptionSchemaSpec, PortSpec
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.values import Vni


def policies_at(
    intent: Intent, port: Object[PortSpec], network: NetworkView, here: Layer
) -> Iterator[Placed]:
    """Yield what the host of a port has because policies name it: the rest refused, what it passes on."""
    defaults = seal_flows(port_defaults(intent, port, network), Feature.POLICY_DEFAULT, port.key)
    if defaults.ends:
        yield here, Fragment(FragmentId(Feature.POLICY_DEFAULT, port.name), defaults)
    hop = hop_view(intent, port, network)
    if hop is not None:
        block = seal_flows(service.flows(hop), Feature.SERVICE, port.key, hop.salt)
        yield here, Fragment(FragmentId(Feature.SERVICE, port.name), block)


def option_policy(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield the flows of an option policy, where what it selects is."""
    intent = situation.intent
    declared = intent.option_policies.get(part.name)
    if declared is None or not situation.served_hosts_of(declared.spec.network):
        return
    layer = shared_layer(LayerKind.NETWORK, declared.spec.network)
    selected = selected_port(declared.spec)
    if selected is not None:
        seat = situation.seats.of(selected)
        if seat is None or not situation.serves(seat.host):
            return
        layer = shared_layer(LayerKind.HOST, seat.host)
    view = policy_view(intent, declared, situation.network(declared.spec.network))
    block = seal_flows(policy.flows(view), Feature.POLICY, declared.key, view.salt)
    yield layer, Fragment(FragmentId(Feature.POLICY, declared.name), block)


def gateway_target(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what makes hosts return the packets of a gateway load balancer."""
    network = situation.intent.networks.get(part.name)
    target = None if network is None else network.spec.target
    if network is None or target is None:
        return
    view = situation.network(part.name)
    endpoint, attachment, cookie = slots_in_order(situation.intent, network.spec)
    slots = gwlb.GwlbSlots(endpoint=endpoint, attachment=attachment, cookie=cookie)
    block = seal_flows(
        gwlb.flows(Vni(view.vni), slots, target.gateways), Feature.TARGET, network.key, view.salt
    )
    # What is refused goes to hosts by their ports of a network: these have none of it.
    refused = _refused_options(situation, network)
    for host in target.hosts:
        if situation.serves(host):
            here = shared_layer(LayerKind.HOST, host)
            yield here, Fragment(FragmentId(Feature.TARGET, network.name), block)
            yield here, Fragment(FragmentId(Feature.FIREWALL, network.name), refused)


def firewall(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what drops packets with options that their network does not carry."""
    if not part.name:
        schemas = sorted(situation.intent.option_schemas.values(), key=slot_of)
        yield from _option_watch(schemas[:1])
        return
    network = situation.intent.networks.get(part.name)
    if network is None or not situation.served_hosts_of(part.name):
        return
    layer = shared_layer(LayerKind.NETWORK, network.name)
    yield layer, Fragment(FragmentId(Feature.FIREWALL, network.name), _refused_options(situation, network))


def _refused_options(situation: Situation, network: Object[NetworkSpec]) -> Block:
    view = situation.network(network.name)
    carried = {schema.name for schema in view.options}
    schemas = sorted(situation.intent.option_schemas.values(), key=slot_of)
    others = [schema for schema in schemas if schema.name not in carried]
    flows = option_firewall.flows(view.vni, map(option_field, others))
    return seal_flows(flows, Feature.FIREWALL, network.key, slots_salt(others))


def _option_watch(lowest: Sequence[Object[OptionSchemaSpec]]) -> Iterator[Placed]:
    for schema in lowest:
        flows = (option_firewall.watch_flow(option_field(schema)),)
        block = seal_flows(flows, Feature.FIREWALL, 0, slots_salt(lowest))
        yield FABRIC, Fragment(FragmentId(Feature.FIREWALL, ""), block)


def group_policy(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield the flows of a policy between groups."""
    declared = situation.intent.policies.get(part.name)
    if declared is None or not situation.served_hosts_of(declared.spec.network):
        return
    view = group_policy_view(situation.intent, declared, situation.network(declared.spec.network))
    block = seal_flows(groups.policy_flows(view), Feature.GROUP_POLICY, declared.key, view.identity.salt)
    layer = shared_layer(LayerKind.NETWORK, declared.spec.network)
    yield layer, Fragment(FragmentId(Feature.GROUP_POLICY, declared.name), block)


def port_group(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what a group has in a network beside its policies: replies, what none allows."""
    intent = situation.intent
    if not intent.policies_between(part.name) or not situation.served_hosts_of(part.name):
        return
    view = group_view(intent, part.name, part.group or None, situation.network(part.name))
    if view is not None:
        block = seal_flows(groups.group_flows(view), Feature.PORT_GROUP, view.key, view.identity.salt)
        layer = shared_layer(LayerKind.NETWORK, part.name)
        yield layer, Fragment(FragmentId(Feature.PORT_GROUP, part.group), block)
