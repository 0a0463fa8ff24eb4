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


def groups(network_key: int, endpoints: Iterable[Address], port_keys: Iterable[int]) -> Iterator[GroupEntry]:
    """Yield a network's two groups for a host: `endpoints` of the other hosts, `port_keys` of its own ports."""
    to_hosts = [_to_host(endpoint) for endpoint in endpoints]
    to_ports = [
        Bucket(actions=(SetField(DESTINATION_PORT, key), Resubmit(Table.POLICY))) for key in port_keys
    ]
    for purpose, buckets in ((GroupPurpose.REMOTE, to_hosts), (GroupPurpose.LOCAL, to_ports)):
        number = group_id(network_key, purpose)
        yield GroupEntry(group_id=number, kind=GroupKind.ALL, buckets=tuple(buckets))


@lru_cache(maxsize=16_384)
def _to_host(endpoint: Address) -> Bucket:
    # A host that joins changes the group of every other one: of 800 hosts, 640,000 buckets with 800 contents.
    return Bucket(actions=to_endpoint(endpoint))


def _flood(network: NetworkView, table: Table, actions: tuple[Action, ...]) -> Flow:
    match = Match.of((TUN_ID, network.vni))
    return Flow(table=table, priority=Priority.FLOOD, match=match, actions=actions)
