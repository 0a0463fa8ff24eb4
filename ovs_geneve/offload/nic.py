# SPDX-License-Identifier: Apache-2.0
"""What is to be known of a network device for offload. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovs_geneve.offload.verdict import Reason, Verdict

HW_TC = "hw-tc-offload"
FEATURES = (
    HW_TC,
    "rx-udp_tunnel-port-offload",
    "tx-udp_tnl-segmentation",
    "tx-udp_tnl-csum-segmentation",
)
"As ethtool(8) calls them."


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a device."""

    active: bool
    fixed: bool
    "Nobody can change it."

    def __str__(self) -> str:
        return ("on" if self.active else "off") + (" [fixed]" if self.fixed else "")


@dataclass(frozen=True, slots=True, order=True)
class TunnelPort:
    """A UDP port that a NIC was told is one of tunnels."""

    port: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One network device."""

    device: str
    driver: str
    "As ethtool has it; empty for a device that tells none."
    features: Mapping[str, Feature]
    "Of FEATURES."
    tunnel_ports: tuple[TunnelPort, ...] | None = None
    "None for a device that has no table of them."


def standing_in_the_way(nic: Nic) -> tuple[Reason, ...]:
    """Say what of a device's settings keeps it from taking flows."""
    feature = nic.features.get(HW_TC)
    if feature is None or feature.active:
        return ()
    if feature.fixed:
        message, change = f"{nic.device} has no {HW_TC}", ""
    else:
        message, change = f"{HW_TC} of {nic.device} is off", f"ethtool -K {nic.device} {HW_TC} on"
    return (Reason(code="hw-tc-offload", verdict=Verdict.NO, message=message, change=change),)
