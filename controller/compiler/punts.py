# SPDX-License-Identifier: Apache-2.0
"""Why a flow sends packets to the controller: the first byte of the action's userdata, which comes back with each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from controller.compiler import meters
from ovs_geneve.openflow.actions import Controller


class Punt(IntEnum):
    """What a packet is sent up for. The number is in flows, so it is never used again for something else."""

    PROBE = 1
    "A probe of ours that arrived."
    DROP_LOG = 2
    "A packet that a policy drops and wants logged."


_METER: Mapping[Punt, int] = {
    Punt.PROBE: meters.PROBES,
    Punt.DROP_LOG: meters.DROP_LOG,
}


def send_up(punt: Punt, data: bytes = b"") -> Controller:
    """Return the action that sends a packet up, whole, within the punt's meter; `data` comes back behind the punt."""
    return Controller(userdata=bytes((punt,)) + data, meter_id=_METER[punt])
