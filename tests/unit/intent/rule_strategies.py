# SPDX-License-Identifier: Apache-2.0
"""Whatever a rule can say."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from hypothesis import strategies as st

from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)

MACS = st.none() | st.integers(0, 2**48 - 1)
PREFIXES = (
    st.none()
    | st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    )
    | st.builds(
        lambda address, length: IPv6Network((address, length), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    )
)
RANGES = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(lambda pair: PortRange(*sorted(pair))),
    max_size=3,
).map(tuple)
PACKETS = st.builds(
    PacketMatch,
    ethertype=st.none() | st.sampled_from([0x0800, 0x0806, 0x86DD]) | st.integers(0, 0xFFFF),
    source_mac=MACS,
    destination_mac=MACS,
    source=PREFIXES,
    destination=PREFIXES,
    protocol=st.none() | st.sampled_from([1, 6, 17, 58, 132]) | st.integers(0, 255),
    source_ports=RANGES,
    destination_ports=RANGES,
    dscp=st.none() | st.integers(0, 63),
)


def actions(names: st.SearchStrategy[FieldName], values: st.SearchStrategy[int], port: str):
    """Lists of actions on these fields, with these values, to this port."""
    one = (
        st.builds(Stamp, names, values)
        | st.builds(StampFrom, names, st.sampled_from(PacketField))
        | st.builds(Copy, names, names)
        | st.builds(Strip, names.map(lambda name: name.schema))
        | st.just(Mirror(port))
        | st.builds(Steer, st.just((port,)), st.none() | names)
        | st.builds(SetQueue, st.integers(0, 2**32 - 2))
        | st.builds(SetDscp, st.integers(0, 63))
    )
    return st.lists(one, max_size=4).map(tuple)
