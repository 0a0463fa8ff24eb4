# SPDX-License-Identifier: Apache-2.0
"""Options on their way into a network: packets of those who do not stamp one yet read 0, as if it were unset.

Open vSwitch matches a value of an option only where the option is there (lib/tun-metadata.c, tun_metadata_set_match):
without these flows `tier=0/0xff` would match no packet of a sender that is not told yet.

    POLICY, once ─► for each such option: ABSENT ─► it is there: as it is      ─► POLICY again
                                             └────► it is not: it is set to 0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import ABSENT_OPTION
from ovs_geneve.openflow.actions import Action, Resubmit, SetField
from ovs_geneve.openflow.fields import TUN_ID, Field
from ovs_geneve.openflow.flow import Flow, Match


def flows(vni: int, options: Sequence[tuple[int, Field]]) -> Iterator[Flow]:
    """Yield what makes options that are on their way in read 0 where they are not there; each with its slot."""
    if not options:
        return
    asks: list[Action] = []
    for slot, option in options:
        # From 1: 0 is a packet that was not looked at.
        asks += SetField(ABSENT_OPTION, slot + 1), Resubmit(Table.ABSENT)
        about = (TUN_ID, vni), (ABSENT_OPTION, slot + 1)
        there = Match.of(*about, (option, 0, 0))
        yield Flow(table=Table.ABSENT, priority=Priority.OVERRIDE, match=there)
        unset = SetField(option, 0)
        yield Flow(table=Table.ABSENT, priority=Priority.EXACT, match=Match.of(*about), actions=(unset,))
    yield Flow(
        table=Table.POLICY,
        priority=Priority.ARRIVAL,
        match=Match.of((TUN_ID, vni), (ABSENT_OPTION, 0)),
        actions=(*asks, Resubmit(Table.POLICY)),
    )
