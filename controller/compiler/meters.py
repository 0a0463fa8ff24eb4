# SPDX-License-Identifier: Apache-2.0
"""The meters that every bridge has: how many packets a second it sends up to the controller, for what.

They are there before the flows that name them, since OVS looks a flow's meter up when the flow is installed: a flow
that came first would never be limited.
"""

from __future__ import annotations

from ovs_geneve.openflow.meters import MeterEntry

FIRST_METER, LAST_METER = 0x6E0, 0x6EF
"Meters between these two are ours; others on the bridge are left alone."

PROBES = 0x6E0
DROP_LOG = 0x6E1

METERS = frozenset(
    {
        MeterEntry(meter_id=PROBES, rate=1_000, burst=1_000),
        MeterEntry(meter_id=DROP_LOG, rate=20, burst=20),
    }
)
"In packets a second."


def is_ours(meter_id: int) -> bool:
    """Tell whether a meter with this number is the controller's."""
    return FIRST_METER <= meter_id <= LAST_METER
