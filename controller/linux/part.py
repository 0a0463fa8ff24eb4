# SPDX-License-Identifier: Apache-2.0
"""A part of a Linux host: what is compiled, sent and compared at once. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ovs_geneve.kernel.objects import KernelState

Interfaces = Mapping[str, str]
"Names of a host's interfaces by the interface ID that they have, as its agent reports."


class PartKind(StrEnum):
    """The kinds of part."""

    HOST = "host"
    "What a host has whatever networks are on it; it has no name."
    PEER = "peer"
    "That packets of another host are taken."
    NETWORK = "network"
    "What a network with ports on the host is without its ports."
    PORT = "port"
    "A port of such a network: its interface if it is here, else the way to it."


class Part(NamedTuple):
    """Names a part, on whatever host."""

    kind: PartKind
    name: str = ""

    def __str__(self) -> str:
        """Return what agents call it: host, peer/hv1, network/blue, port/web1."""
        return f"{self.kind}/{self.name}" if self.name else self.kind.value


HOST_PART = Part(PartKind.HOST)


class Problem(NamedTuple):
    """What a host can not do of what is asked; it is left out as a whole, and said in a condition."""

    subject: str
    "Whom it is about, as kind/name: port/web1."
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxPart:
    """What a kernel should hold of a part."""

    state: KernelState
    problems: tuple[Problem, ...] = ()
