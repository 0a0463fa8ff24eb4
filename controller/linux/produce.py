# SPDX-License-Identifier: Apache-2.0
"""What a part of a Linux host is. Pure: it depends on the situation alone."""

from __future__ import annotations

from controller.linux.part import LinuxPart
from controller.linux.situation import LinuxSituation
from ovs_geneve.kernel.objects import KernelState


def host_part_of(host: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has whatever networks are on it."""
    return LinuxPart(state=KernelState())


def network_part_of(host: str, network: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has of a network that has ports on it."""
    return LinuxPart(state=KernelState())
