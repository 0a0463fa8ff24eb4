# SPDX-License-Identifier: Apache-2.0
"""What the pipeline keeps in a packet's metadata on its way through the tables.

The virtual network is in tun_id from the stamp stage on (and from the tunnel, on arrival): the same field that goes
over the wire, so that no flow has to copy it. Options live in tun_metadata likewise, stamped before the first look-up
of a destination, so that a policy reads them in one way whether the packet crossed a tunnel or not.
"""

from __future__ import annotations

from enum import IntFlag

from ovs_geneve.openflow.fields import REG0, REG1, REG2, REG3, REG4, REG14, REG15

SOURCE_PORT = REG0
"Object key of the logical port that the packet came from; 0 when it came out of the tunnel."

DESTINATION_PORT = REG1
"Object key of the logical port that the packet goes to, once that is known."

DESTINATION_GROUP = REG2
"Identity of that port's group; 0 when it has none. Set wherever DESTINATION_PORT is."

INNER_VLAN = REG3
"VLAN ID of the tag that was taken off what a port sent; 0 without one."

MARKS = REG4
"What happened to the packet so far, a bit each."


ABSENT_OPTION = REG14
"The slot, and 1, of the option on its way into the network that was looked for last; 0 before that."

ZERO = REG15
"Never written: what in_port is made 0 from, which OVS lets move write but not set_field."


class Mark(IntFlag):
    """The bits of MARKS."""

    ACTED_EGRESS = 1
    "A policy of the sender without a verdict acted; the others are asked now."
    ACTED_INGRESS = 2
    SERVICE = 4
    "It came out of a port that packets are steered through."
    CHAINED = 8
    "It is what that port passes on for others."
    DIRECT = 16
    "It goes to DESTINATION_PORT, whatever its MACs say."
    BY_PORT = 1 << 8
    "Never set, asked for by flows that name a port by its MAC: they are not those of who says the MAC itself."
    BY_GROUP = 1 << 9
    "Likewise of flows that name a group."
