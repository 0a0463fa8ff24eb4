# SPDX-License-Identifier: Apache-2.0
"""Numbers of the protocols that flows speak of."""

from __future__ import annotations

IPV4 = 0x0800
ARP = 0x0806
RARP = 0x8035
VLAN = 0x8100
IPV6 = 0x86DD
SERVICE_VLAN = 0x88A8

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58
SCTP = 132

DHCP_SERVER = 67
DHCP_CLIENT = 68

ARP_REQUEST = 1
ARP_REPLY = 2

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
REDIRECT = 137
MLDV2_REPORT = 143

IPV4_BROADCAST = 0xFFFFFFFF
MULTICAST_BIT = 1 << 40
"Set in the destination MAC of every broadcast and multicast frame."
