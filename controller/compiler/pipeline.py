# SPDX-License-Identifier: Apache-2.0
"""The tables of br-int and the priorities in them. docs/pipeline.md shows each with a real dump.

    local port ─► CLASSIFY ─► ANTISPOOF ─► ND_GUARD ─► STAMP ─► EGRESS ─► NEIGHBOURS ─► TRACK ─► FORWARD ─► geneve port
                     │                                                        │                     │
                     │                                                answered in place             │
    geneve port ─────┴─► PEERS ─► RECEIVE ──────────────────────────────────────────────────────────┴─► POLICY ─► GROUPS
                                                                                                        DELIVER ◄───┘
ND_GUARD sees IPv6 only; GROUPS_STATE what conntrack gives back. A copy or a steered packet leaves FORWARD (or POLICY)
for DIRECT, and that for DELIVER or the geneve port. A table without a matching flow drops; each has an explicit last
flow that counts.
"""

from __future__ import annotations

from enum import IntEnum


class Table(IntEnum):
    """Numbers leave room for stages to come; nothing but this class knows them."""

    CLASSIFY = 0
    "Which logical port, or the tunnel? OAM packets end here, but for probes."
    ANTISPOOF = 10
    "Source MAC, IPv4, IPv6 and ARP must be the port's own."
    ND_GUARD = 15
    "Neighbour discovery must speak of the port's own addresses; no router advertisements, no redirects."
    STAMP = 20
    "Sets the VNI and every option the network carries."
    EGRESS = 25
    "Option policies of the sender: restamp, steer, drop."
    NEIGHBOURS = 30
    "Answers ARP from the port table; sends ND questions to the owner of the address alone."
    TRACK = 37
    "Shows conntrack the connections of stateful policies, on their way out."
    FORWARD = 40
    "Destination MAC: a local port, a host, or all of them."
    DIRECT = 45
    "To a port by its key, whatever the MACs say: mirror copies, packets on their way through a chain."
    PEERS = 50
    "From the tunnel: is the sender one of our hosts?"
    RECEIVE = 60
    "From the tunnel: known VNI, which local port? Probes end here."
    ABSENT = 65
    "An option on its way into the network that a packet does not carry yet is set to 0."
    POLICY = 70
    "Option policies of the destination."
    GROUPS = 75
    "Policies between groups, by the identity that the packet carries."
    GROUPS_STATE = 76
    "What conntrack says of packets that may be replies; what it does not know goes back to GROUPS."
    DELIVER = 80
    "Out to the interface."


class Priority(IntEnum):
    """The levels within a table.

    Option policies spread over POLICY to POLICY + 20001; those between groups, in GROUPS, to POLICY + 30002.
    """

    MISS = 0
    FLOOD = 50
    ANY_SOURCE = 100
    REFUSE = 150
    OPEN_PORT = 160
    PASSED_ON = 170
    SERVICE_ITSELF = 180
    SERVICE_REFUSE = 190
    EXACT = 200
    OVERRIDE = 300
    PROBE = 310
    POLICY_DEFAULT = 500
    DEFAULT_EXCEPTION = 510
    POLICY = 1000
    CHAIN = 30_000
    REPLIES = 40_000
    RELATED = 40_001
    ALWAYS = 40_002
    ARRIVAL = 60_000
    "Before all policies: see `features/arrival.py`."


TUNNEL_NAME = "ovs-geneve0"
"The vport's interface name on every host."

TUNNEL_OFPORT = 6081
"The vport's ofport_request on every host, so that flows towards it are the same bytes everywhere."
