# SPDX-License-Identifier: Apache-2.0
"""Broadcast, multicast and unknown unicast: head-end replication in two groups a network.

REMOTE has a bucket a host, LOCAL a bucket a port: a new port elsewhere changes nothing here, and what came out of
the tunnel goes to LOCAL only, so that it can not loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from controller.compiler.features.tunnel import to_endpoint
from controller.compiler.groups import GroupPurpose, group_id
from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import DESTINATION_PORT
from controller.compiler.views import NetworkView
from controller.intent.model import Address
from ovs_geneve.openflow.actions import Action, Group, Resubmit, SetField
from ovs_geneve.openflow.fields import TUN_ID
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match


def flows(network: NetworkView) -> Iterator[Flow]:
    """Yield what hands a network's unaddressed packets to its groups: the same on every host of it."""
    remote = Group(group_id(network.key, GroupPurpose.REMOTE))
    local = Group(group_id(network.key, GroupPurpose.LOCAL))
    yield _flood(network, Table.FORWARD, (remote, local))
    yield _flood(network, Table.RECEIVE, (local,))


def remote_group(network_key: int, endpoints: Iterable[Address]) -> GroupEntry:
    """Return what copies a network's packets to the other hosts that have ports of it, at `endpoints`."""
    buckets = tuple([_to_host(endpoint) for endpoint in endpoints])
    return GroupEntry(
        group_id=group_id(network_key, GroupPurpose.REMOTE), kind=GroupKind.ALL, buckets=buckets
    )


def local_group(network_key: int, port_keys: Iterable[int]) -> GroupEntry:
    """Return what copies a network's packets to its ports on this host."""
    buckets = tuple([_to_port(key) for key in port_keys])
    return GroupEntry(group_id=group_id(network_key, GroupPurpose.LOCAL), kind=GroupKind.ALL, buckets=buckets)


@lru_cache(maxsize=16_384)
def _to_host(endpoint: Address) -> Bucket:
    # A host that joins changes the group of every other one: of 800 hosts, 640,000 buckets with 800 contents.
    return Bucket(actions=to_endpoint(endpoint))


def _to_port(key: int) -> Bucket:
    return Bucket(actions=(SetField(DESTINATION_PORT, key), Resubmit(Table.POLICY)))


def _flood(network: NetworkView, table: Table, actions: tuple[Action, ...]) -> Flow:
    match = Match.of((TUN_ID, network.vni))
    return Flow(table=table, priority=Priority.FLOOD, match=match, actions=actions)
