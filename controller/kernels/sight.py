# SPDX-License-Identifier: Apache-2.0
"""What agents tell of offload, as reports show it beside what is seen of Open vSwitch. Pure."""

from __future__ import annotations

from controller.kernels.report import OffloadSight, SeenDevice
from controller.linux.part import PartKind
from ovs_geneve.offload.nic import Feature, Nic, TunnelPort
from ovs_geneve.offload.sight import FilterCount, HostSight


def host_sight(told: OffloadSight) -> HostSight:
    """Return what an agent told as what was seen on its host."""
    return HostSight(
        uplinks=tuple(map(_nic, told.uplinks)),
        filters=tuple(
            FilterCount(
                network=_network(one.part),
                device=one.device,
                egress=one.egress,
                filters=one.filters,
                in_hardware=one.in_hardware,
            )
            for one in told.filters
        ),
        problems=told.problems,
    )


def _network(part: str) -> str:
    kind, _, name = part.partition("/")
    return name if kind == PartKind.NETWORK else ""


def _nic(device: SeenDevice) -> Nic:
    ports = device.tunnel_ports
    return Nic(
        device=device.name,
        driver=device.driver,
        features={one.name: Feature(one.active, one.fixed) for one in device.features},
        tunnel_ports=None if ports is None else tuple(TunnelPort(one.port, one.kind) for one in ports),
    )
