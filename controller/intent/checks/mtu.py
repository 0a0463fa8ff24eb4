# SPDX-License-Identifier: Apache-2.0
"""What a network must carry fits between every two hosts, whatever is changed."""

from __future__ import annotations

from controller.errors import Conflict, Invalid
from controller.intent.intent import Intent
from controller.intent.model import Change, HostSpec, Kind, NetworkSpec, Object, ObjectKey
from controller.intent.mtu import Fit, fit

MIN_MTU = 576
"What every IPv4 host must be able to take (RFC 791)."

MAX_MTU = 65_535


def check_network(intent: Intent, spec: NetworkSpec) -> None:
    """Refuse a network whose packets would not fit between some pair of hosts."""
    if spec.mtu is not None and not MIN_MTU <= spec.mtu <= MAX_MTU:
        raise Invalid("mtu-out-of-range", f"{spec.mtu}: want {MIN_MTU} to {MAX_MTU}", pointer="/mtu")
    _check_fit(fit(intent, spec.options), spec.mtu or MIN_MTU, "/mtu" if spec.mtu is not None else "/options")


def check_demands(intent: Intent, name: str, spec: HostSpec) -> None:
    """Refuse a host between which and others a network's packets would not fit."""
    demanding = intent.networks_demanding_mtu
    if not demanding:
        return
    held = intent.hosts.get(name)
    key = held.key if held is not None else ObjectKey(0)
    host = Object(kind=Kind.HOST, name=name, key=key, spec=spec)
    after = intent.with_changes([Change(kind=Kind.HOST, name=name, old=held, new=host)], intent.revision)
    for network in sorted(demanding):
        wanted = intent.networks[network].spec
        _check_fit(fit(after, wanted.options), wanted.mtu or MIN_MTU, "/underlay_mtu", network)


def _check_fit(found: Fit | None, wanted: int, at: str, network: str = "") -> None:
    if found is None or found.mtu >= wanted:
        return
    between = f" between {' and '.join(found.pair)}" if all(found.pair) else ""
    of = f"network {network} " if network else "the network "
    raise Conflict(
        "mtu-does-not-fit",
        f"{of}must carry {wanted} bytes; with its options {found.mtu} fit{between}",
        pointer=at,
        holder=f"{Kind.HOST}/{found.pair[0]}" if found.pair[0] else "",
    )
