# SPDX-License-Identifier: Apache-2.0
"""What the flows of one object have counted, read from bridges when somebody asks: never in the way of programming."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from controller.compiler.cookies import CAUSE_MASK, Feature, cause
from controller.southbound.ports import SwitchChannel
from ovs_geneve.errors import ConnectionLost, OpenFlowError
from ovs_geneve.openflow.stats import Count


async def count(
    channels: Mapping[str, SwitchChannel], feature: Feature, object_key: int
) -> dict[str, Count | None]:
    """Return packets and bytes by host; None where the bridge does not answer.

    OVS takes over what its datapath counted now and then, so figures lag a little; a flow that changes begins anew.
    """
    answers = await asyncio.gather(*(_count(channel, feature, object_key) for channel in channels.values()))
    return dict(zip(channels, answers, strict=True))


async def _count(channel: SwitchChannel, feature: Feature, object_key: int) -> Count | None:
    try:
        counted = await channel.counters(cause(feature, object_key), CAUSE_MASK)
    except (ConnectionLost, OpenFlowError):
        return None
    return Count(sum(one.packets for one in counted.values()), sum(one.bytes for one in counted.values()))
