# SPDX-License-Identifier: Apache-2.0
"""Broadcast, multicast and unknown unicast: head-end replication in two groups a network.

REMOTE has a bucket a host, LOCAL a bucket a port: a new port elsewhere changes nothing here, and what came out of
the tunnel goes to LOCAL only, so that it can not loop. A bucket is numbered by the key of its host or port, so that it
is the same in every group.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features import local_port
from controller.compiler.features.tunnel import to_endpoint
from controller.compiler.groups import GroupPurpose, group_id
from controller.compiler.pipeline import Priority, Table
from controller.compiler.views import NetworkView
from controller.intent.model import Address
from ovs_geneve.openflow.actions import Action, Group, Resubmit
from ovs_geneve.openflow.fields import TUN_ID
from ovs_geneve.openflow.flow import Bucket, Flow, Match


def flows(network: NetworkView) -> Iterator[Flow]:
    """Yield what hands a network's unaddressed packets to its groups: the same on every host of it."""
    remote = Group(group_id(network.key, GroupPurpose.REMOTE))
    local = Group(group_id(network.key, GroupPurpose.LOCAL))
    yield _flood(network, Table.FORWARD, (remote, local))
    yield _flood(network, Table.RECEIVE, (local,))


def to_host(host_key: int, endpoint: Address) -> Bucket:
    """Return what copies a packet to another host that has ports of its network, into REMOTE groups."""
    return Bucket(actions=to_endpoint(endpoint), bucket_id=host_key)


def to_port(port_key: int, group: int) -> Bucket:
    """Return what copies a packet to a port on this host, into LOCAL groups; `group` is the port's identity."""
    actions = (*local_port.to_port(port_key, group), Resubmit(Table.POLICY))
    return Bucket(actions=actions, bucket_id=port_key)


def _flood(network: NetworkView, table: Table, actions: tuple[Action, ...]) -> Flow:
    match = Match.of((TUN_ID, network.vni))
    return Flow(table=table, priority=Priority.FLOOD, match=match, actions=actions)
