# SPDX-License-Identifier: Apache-2.0
"""To a port by its key, whatever the MACs of the packet say: mirror copies, and packets on their way through a chain.

    its own host      DIRECT  reg1=key          ─► DELIVER
    the other hosts   DIRECT  reg1=key          ─► VNI 0xc00000 + key, to its host
    its own host      RECEIVE that VNI          ─► DELIVER

Frame and options stay as they are; no policy of the port is asked: it was told to hear this.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features.tunnel import to_endpoint
from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import DESTINATION_PORT, MARKS, Mark
from controller.intent.model import Address, direct_vni
from ovs_geneve.openflow.actions import SetField
from ovs_geneve.openflow.fields import TUN_ID
from ovs_geneve.openflow.flow import Flow, Match


def detour_flow() -> Flow:
    """Return the one flow that has FORWARD send what is steered another way."""
    match = Match.of((MARKS, Mark.DIRECT, Mark.DIRECT))
    return Flow(table=Table.FORWARD, priority=Priority.OVERRIDE, match=match, goto=Table.DIRECT)


def flows_at_home(key: int) -> Iterator[Flow]:
    """Yield what delivers to a port on this host."""
    yield Flow(
        table=Table.DIRECT,
        priority=Priority.EXACT,
        match=Match.of((DESTINATION_PORT, key)),
        goto=Table.DELIVER,
    )
    yield Flow(
        table=Table.RECEIVE,
        priority=Priority.EXACT,
        match=Match.of((TUN_ID, direct_vni(key))),
        actions=(SetField(DESTINATION_PORT, key),),
        goto=Table.DELIVER,
    )


def way_flow(key: int, endpoint: Address) -> Flow:
    """Return what sends to a port on another host."""
    return Flow(
        table=Table.DIRECT,
        priority=Priority.EXACT,
        match=Match.of((DESTINATION_PORT, key)),
        actions=(SetField(TUN_ID, direct_vni(key)), *to_endpoint(endpoint)),
    )
