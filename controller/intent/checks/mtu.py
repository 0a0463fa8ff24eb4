# SPDX-License-Identifier: Apache-2.0
"""What a network must carry fits between every two hosts, whatever is changed."""

from __future__ import annotations

from controller.errors import Conflict, Invalid
from controller.intent.intent import Intent
from controller.intent.model import Change, HostSpec, Kind, NetworkSpec, Object, ObjectKey, object_id
from controller.intent.mtu import Fit, Underlay, added_length, network_fit

MIN_MTU = 576
"What every IPv4 host must be able to take (RFC 791)."

MAX_MTU = 65_535


def check_network(intent: Intent, name: str, spec: NetworkSpec) -> None:
    """Refuse a network whose packets would not fit between some pair of hosts."""
    if spec.mtu is not None and not MIN_MTU <= spec.mtu <= MAX_MTU:
        raise Invalid("mtu-out-of-range", f"{spec.mtu}: want {MIN_MTU} to {MAX_MTU}", pointer="/mtu")
    found = Underlay.of(intent.hosts.values()).fit(added_length(intent, name, spec))
    _check_fit(found, spec, "/options" if spec.mtu is None else "/mtu", name)


def check_host(intent: Intent, name: str, spec: HostSpec) -> None:
    """Refuse a host between which and others the packets of a network that demands an MTU would not fit."""
    if spec.underlay_mtu is not None and not MIN_MTU <= spec.underlay_mtu <= MAX_MTU:
        reason = f"{spec.underlay_mtu}: want {MIN_MTU} to {MAX_MTU}"
        raise Invalid("mtu-out-of-range", reason, pointer="/underlay_mtu")
    demanding = intent.networks_demanding_mtu
    if not demanding:
        return
    held = intent.hosts.get(name)
    key = held.key if held is not None else ObjectKey(0)
    host = Object(kind=Kind.HOST, name=name, key=key, spec=spec)
    after = intent.with_changes([Change(kind=Kind.HOST, name=name, old=held, new=host)], intent.revision)
    underlay = Underlay.of(after.hosts.values())
    for network in sorted(demanding):
        found = network_fit(after, network, underlay)
        _check_fit(found, intent.networks[network].spec, "/underlay_mtu", network)


def _check_fit(found: Fit | None, spec: NetworkSpec, at: str, name: str) -> None:
    wanted = MIN_MTU if spec.mtu is None else spec.mtu
    if found is None or found.mtu >= wanted:
        return
    one, other = found.pair
    between = f"between hosts {one} and {other}" if one != other else f"from host {one}"
    raise Conflict(
        "mtu-does-not-fit",
        f"network {name} must carry {wanted} bytes: with its options {found.mtu} fit {between}",
        pointer=at,
        holder=object_id(Kind.HOST, one),
    )
