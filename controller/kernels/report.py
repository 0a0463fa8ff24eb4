# SPDX-License-Identifier: Apache-2.0
"""What goes between the controller and the agent of a Linux host, as JSON. Values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ovs_geneve.kernel.objects import KernelState

Text = Annotated[str, Meta(max_length=2000)]
Word = Annotated[str, Meta(min_length=1, max_length=255)]


class PluggedInterface(Struct, frozen=True, forbid_unknown_fields=True):
    """An interface of the host, by one of its names: itself, an altname, its alias."""

    interface_id: Word
    name: Word


class KernelProblem(Struct, frozen=True, forbid_unknown_fields=True):
    """What the kernel refused."""

    object: Text
    reason: Annotated[Word, Meta(description="One word in camel case.", examples=["ModuleMissing"])]
    message: Text
    part: Annotated[
        Text, Meta(description="Of the kernel's state that it is in.", examples=["network/blue"])
    ] = ""


class SeenFeature(Struct, frozen=True, forbid_unknown_fields=True):
    """A feature of a network device, as ethtool(8) calls it."""

    name: Word
    active: bool
    fixed: Annotated[bool, Meta(description="Nobody can change it.")]


class SeenPort(Struct, frozen=True, forbid_unknown_fields=True):
    """A UDP port that a NIC was told is one of tunnels."""

    port: Annotated[int, Meta(ge=0, le=0xFFFF)]
    kind: Word


class SeenDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """A network device below the host's tunnels."""

    name: Word
    driver: Text
    features: tuple[SeenFeature, ...] = ()
    tunnel_ports: Annotated[
        tuple[SeenPort, ...] | None, Meta(description="null for a device that has no table of them.")
    ] = None


class SeenFilters(Struct, frozen=True, forbid_unknown_fields=True):
    """The host's filters of one part and place, as the kernel holds them."""

    device: Word
    egress: bool
    part: Annotated[Text, Meta(examples=["network/blue"])]
    filters: Annotated[int, Meta(ge=1)]
    in_hardware: Annotated[int, Meta(ge=0, description="Of which a driver said that its NIC has them.")]


class OffloadSight(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What matters for offload; nothing in it changes with each packet."""

    uplinks: tuple[SeenDevice, ...] = ()
    filters: tuple[SeenFilters, ...] = ()
    problems: Annotated[tuple[Text, ...], Meta(description="What could not be seen, and why.")] = ()


class AgentReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent tells of its host."""

    interfaces: tuple[PluggedInterface, ...]
    kernel: Annotated[Word, Meta(description="Its release.", examples=["6.1.0-56-amd64"])]
    lacks: Annotated[tuple[Word, ...], Meta(description="Kernel modules that are missing.")] = ()
    problems: tuple[KernelProblem, ...] = ()
    sight: OffloadSight | None = None
    acknowledged: Annotated[
        Text | None,
        Meta(description="The generation that its kernel was last made equal to; null when there is none."),
    ] = None


class HostKernel(Struct, frozen=True, kw_only=True):
    """All that a Linux host's kernel should hold."""

    revision: int
    generation: str
    parts: dict[str, KernelState]


class PartUpdate(Struct, frozen=True, kw_only=True):
    """A part as it should be now; without a state it is no more."""

    part: str
    state: KernelState | None
    revision: int


class Synced(Struct, frozen=True, kw_only=True):
    """All parts of this generation were sent."""

    generation: Annotated[str, Meta(description="To be acknowledged in a report.")]
    revision: int


_PASSED_ON = 5
"Problems of a host that other controllers are told: enough to act on."


def problems_told(problems: Sequence[KernelProblem]) -> str:
    """Put the first problems of a host into words for other controllers; "" when there are none."""
    return msgspec.json.encode(problems[:_PASSED_ON]).decode() if problems else ""


def problems_read(told: str) -> tuple[KernelProblem, ...]:
    """Read the words of `problems_told`, or take what is none for one problem."""
    try:
        return msgspec.json.decode(told, type=tuple[KernelProblem, ...]) if told else ()
    except msgspec.DecodeError:
        return (KernelProblem(object="its agent", reason="Unreadable", message=told),)
