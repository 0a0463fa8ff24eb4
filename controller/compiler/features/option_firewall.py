# SPDX-License-Identifier: Apache-2.0
"""What options a network's packets may not carry: those that are declared for others only.

An option that nobody declared is OVS's own business (`docs/decisions/0006-bad-options.md`): it ignores one that is not
critical and drops a packet with one that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.pipeline import Priority, Table
from ovs_geneve.openflow.fields import TUN_ID, Field
from ovs_geneve.openflow.flow import Flow, Match

_NO_VNI = 1 << 24
"One more than the largest (RFC 8926 3.4): no packet has it."


def flows(vni: int, uncarried: Iterable[Field]) -> Iterator[Flow]:
    """Yield what drops a network's packets that carry an option declared for others; a mask of 0 asks for presence."""
    for option in uncarried:
        yield _drop(vni, option)


def watch_flow(option: Field) -> Flow:
    """Return a flow that no packet matches, yet has OVS look at the options of every packet.

    Without any flow on options in its way a megaflow leaves out all but their length as a whole (OVS
    lib/tun-metadata.c, tun_metadata_to_geneve_udpif_mask), and so lets in packets with an unknown critical option as
    long as they are as long as those it was made for. One flow that asks for one option is enough.
    """
    return _drop(_NO_VNI, option)


def _drop(vni: int, option: Field) -> Flow:
    match = Match.of((TUN_ID, vni), (option, 0, 0))
    return Flow(table=Table.RECEIVE, priority=Priority.OVERRIDE, match=match)
