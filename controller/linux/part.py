# SPDX-License-Identifier: Apache-2.0
"""A part of a Linux host: what is compiled, sent and compared at once. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ovs_geneve.kernel.objects import KernelState

HOST_PART = "host"
"What a host has whatever networks are on it."

Interfaces = Mapping[str, str]
"Names of a host's interfaces by the interface ID that they have, as its agent reports."


class Problem(NamedTuple):
    """What a host can not do of what is asked; it is left out as a whole, and said in a condition."""

    subject: str
    "Whom it is about, as kind/name: port/web1."
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxPart:
    """What a kernel should hold of one network, or of the host itself."""

    state: KernelState
    problems: tuple[Problem, ...] = ()


def network_part(network: str) -> str:
    """Return the name of a network's part."""
    return f"network/{network}"
