# SPDX-License-Identifier: Apache-2.0
"""The rules for logical ports."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import (
    check_distinct,
    check_external_id,
    check_free,
    check_none,
    check_unicast,
    pointer,
    settle_values,
)
from controller.intent.checks.groups import check_group
from controller.intent.checks.targets import check_no_target
from controller.intent.intent import Intent
from controller.intent.model import Address, Kind, Payload, PortSpec, link_local, object_id

_MAC_GROUP_BIT = 1 << 40
"The I/G bit of a MAC address (IEEE 802): set in multicast and broadcast."


def settle(intent: Intent, name: str, spec: PortSpec) -> PortSpec:
    """Check a port against its network and its neighbours there."""
    network = intent.networks.get(spec.network)
    if network is None:
        raise Invalid("network-unknown", f"there is no network {spec.network}", pointer="/network")
    _check_network_stays(intent, name, spec.network)
    check_no_target(intent, spec.network)
    _check_mac(intent, name, spec)
    _check_addresses(intent, name, spec)
    if network.spec.payload is Payload.IP and not spec.addresses:
        reason = f"network {network.name} is one of IP: it takes packets to the addresses of its ports"
        raise Invalid("address-missing", reason, pointer="/addresses", holder=network.id)
    _check_interface_id(intent, name, spec)
    if spec.group is not None:
        check_group(intent, network, spec.group, "/group")
    values = settle_values(intent, spec.network, network.spec.options, spec.values, "/options")
    return replace(spec, values=values)


def check_unused(intent: Intent, name: str) -> None:
    """Refuse to let go a port that a policy names."""
    policies = [object_id(Kind.OPTION_POLICY, policy) for policy in intent.policies_naming(name)]
    check_none(policies, f"port {name}")


def _check_network_stays(intent: Intent, name: str, network: str) -> None:
    held = intent.ports.get(name)
    if held is not None and held.spec.network != network:
        raise Conflict(
            "immutable",
            f"the port is in network {held.spec.network}: delete it and make it anew to move it",
            pointer="/network",
            holder=held.id,
        )


def _check_mac(intent: Intent, name: str, spec: PortSpec) -> None:
    if not 0 < spec.mac < 1 << 48 or spec.mac & _MAC_GROUP_BIT:
        raise Invalid(
            "mac-not-unicast", f"{_mac_text(spec.mac)} is not the MAC of an interface", pointer="/mac"
        )
    holder = intent.port_by_mac(spec.network, spec.mac)
    check_free(holder, Kind.PORT, name, code="mac-taken", what=f"MAC {_mac_text(spec.mac)}", at="/mac")


def _check_addresses(intent: Intent, name: str, spec: PortSpec) -> None:
    check_distinct(spec.addresses, "address-duplicate", "/addresses")
    for position, address in enumerate(spec.addresses):
        at = pointer("addresses", position)
        check_unicast(address, at)
        if address.is_loopback:
            raise Invalid("address-not-unicast", f"{address} never leaves a host", pointer=at)
        holder = intent.port_by_address(spec.network, address)
        _check_address_free(holder, name, address, at)
        maker = _mac_of(address)
        if maker is not None:
            holder = intent.port_by_mac(spec.network, maker)
            _check_address_free(holder, name, address, at)
    own = link_local(spec.mac)
    holder = intent.port_by_address(spec.network, own)
    _check_address_free(holder, name, own, "/mac")


def _check_address_free(holder: str | None, name: str, address: Address, at: str) -> None:
    if holder is not None:  # else there is no sentence to make: an IPv6 address takes 6 us to render
        check_free(holder, Kind.PORT, name, code="address-taken", what=f"address {address}", at=at)


def _mac_of(address: Address) -> int | None:
    """Return the MAC that makes a link-local address: whoever has it speaks from there without declaring it."""
    if address.version == 4 or not address.is_link_local:
        return None
    identifier = int(address) & (1 << 64) - 1 ^ 1 << 57
    mac = identifier >> 40 << 24 | identifier & 0xFFFFFF
    return mac if link_local(mac) == address else None


def _check_interface_id(intent: Intent, name: str, spec: PortSpec) -> None:
    at = "/interface_id"
    if spec.interface_id is not None:
        check_external_id(spec.interface_id, at)
    interface_id = spec.interface_id or name
    holder = intent.port_by_interface_id(interface_id)
    what = f"iface-id {interface_id}"
    check_free(holder, Kind.PORT, name, code="interface-id-taken", what=what, at=at)


def _mac_text(mac: int) -> str:
    if not 0 <= mac < 1 << 48:
        return f"{mac:#x}"
    return mac.to_bytes(6, "big").hex(":")
