# SPDX-License-Identifier: Apache-2.0
"""Names of parts: the smallest things that are compiled anew."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from controller.compiler.fragments import Fragment, Layer

Placed = tuple[Layer, Fragment]
"What a part contributes, and where."


class PartKind(StrEnum):
    """The kinds of part."""

    PIPELINE = "pipeline"
    PROBES = "what becomes of probes"
    HOST = "host"
    NETWORK = "network"
    REMOTE_GROUP = "copies to the other hosts of a network, on one host"
    LOCAL_GROUP = "copies to the ports of a network, on one host"
    PORT = "port"
    LOCAL = "what only the host of a port has"
    POLICY = "policy"
    TARGET = "target of a gateway load balancer"
    FIREWALL = "options that a network does not carry"
    "Of all networks where it has no name."
    GROUP_POLICY = "policy between groups"
    PORT_GROUP = "what a group of ports has in a network beside its policies"


class Part(NamedTuple):
    """Names a part."""

    kind: PartKind
    name: str = ""
    host: str = ""
    "For groups of OpenFlow."
    group: str = ""
    "For PORT_GROUP; nothing is anybody in the network."
