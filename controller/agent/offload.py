# SPDX-License-Identifier: Apache-2.0
"""What of a kernel matters for offload: the devices below its tunnels, and which filters a NIC has.

Nothing is counted here that changes with each packet: whatever differs is told to the controller.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from controller.kernels.report import OffloadSight, SeenDevice, SeenFeature, SeenFilters, SeenPort
from ovs_geneve.kernel.objects import FilterKey, Flower, GeneveLink, KernelState
from ovs_geneve.kernel.observation import Observation
from ovs_geneve.offload.ethtool import Ethtool, addressed
from ovs_geneve.offload.nic import Nic


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadState:
    """What one look found."""

    uplinks: tuple[SeenDevice, ...] = ()
    problems: tuple[str, ...] = ()
    filters: Mapping[FilterKey, bool] = field(default_factory=dict)
    "All of ours, and whether a NIC has each."


def look(desired: KernelState, observed: Observation) -> OffloadState:
    """Look at the devices of the calling thread's network namespace."""
    keys = (one.key for one in observed.state.filters)
    filters = {key: key in observed.in_hardware for key in keys}
    try:
        uplinks, problems = _uplinks(desired)
    except OSError as error:
        uplinks, problems = (), (f"devices: {error}",)
    return OffloadState(uplinks=uplinks, problems=problems, filters=filters)


def told(state: OffloadState, parts: Mapping[str, KernelState]) -> OffloadSight:
    """Count the filters by device and network, as a report says them."""
    owner = {one.key: name for name, part in parts.items() for one in part.filters}
    place = _part_of_device(parts)
    number, taken = Counter[tuple[str, bool, str]](), Counter[tuple[str, bool, str]]()
    for key, is_taken in state.filters.items():
        part = owner.get(key, "")
        if not part.startswith("network/"):
            part = place.get(key[0], part)
        where = key[0], key[1], part
        number[where] += 1
        taken[where] += is_taken
    filters = tuple(
        SeenFilters(device=device, egress=egress, part=part, filters=count, in_hardware=taken[where])
        for where, count in sorted(number.items())
        for device, egress, part in [where]
    )
    return OffloadSight(uplinks=state.uplinks, filters=filters, problems=state.problems)


def source_towards(remote: str) -> str | None:
    """Return the address that packets to another one come from, by the routes; None where nothing leads there."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((remote, 9))
            return str(trial.getsockname()[0])
        except OSError:
            return None


def _uplinks(desired: KernelState) -> tuple[tuple[SeenDevice, ...], tuple[str, ...]]:
    devices, problems, seen = dict[str, None](), dict[str, None](), list[SeenDevice]()
    held = addressed()
    for address, missing in _addresses(desired):
        device = None if address is None else held.get(ip_address(address))
        if device is None:
            problems[missing] = None
        else:
            devices[device] = None
    with Ethtool() as ethtool:
        for device in devices:
            try:
                seen.append(_device(ethtool.nic(device)))
            except OSError as error:
                problems[f"{device}: {error}"] = None
    return tuple(seen), tuple(problems)


def _addresses(desired: KernelState) -> Iterator[tuple[str | None, str]]:
    """Yield the addresses that tunnels come from, with what to say of one that no device has."""
    matches = (one.match for one in desired.filters)
    own = {one.enc_dst for one in matches if isinstance(one, Flower) and one.enc_dst is not None}
    for address in sorted(own):
        yield address, f"no device has {address}, an endpoint of this host: its NIC is not known"
    kinds = (one.kind for one in desired.links)
    remotes = {one.remote for one in kinds if isinstance(one, GeneveLink) and one.remote is not None}
    for remote in sorted(remotes):
        yield source_towards(remote), f"no route leads to {remote}: the NIC towards it is not known"


def _device(nic: Nic) -> SeenDevice:
    return SeenDevice(
        name=nic.device,
        driver=nic.driver,
        features=tuple(SeenFeature(name, one.active, one.fixed) for name, one in nic.features.items()),
        tunnel_ports=None
        if nic.tunnel_ports is None
        else tuple(SeenPort(one.port, one.kind) for one in nic.tunnel_ports),
    )


def _part_of_device(parts: Mapping[str, KernelState]) -> Mapping[str, str]:
    """Return the part that made each device of ours, and the network's that has the interface of a workload."""
    made = {link.name: name for name, part in parts.items() for link in part.links}
    held = {
        one.name: made[one.master]
        for part in parts.values()
        for one in part.attachments
        if one.master in made
    }
    return made | held
