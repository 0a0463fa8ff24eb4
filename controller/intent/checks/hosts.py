# SPDX-License-Identifier: Apache-2.0
"""The rules for hosts."""

from __future__ import annotations

import re
from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.checks.documents import (
    check_distinct,
    check_external_id,
    check_free,
    check_none,
    check_unicast,
    pointer,
)
from controller.intent.checks.mtu import check_host
from controller.intent.intent import Intent
from controller.intent.model import (
    Address,
    DatapathChoice,
    HostKind,
    HostSpec,
    Kind,
    Tunables,
    TunnelStyle,
    object_id,
)
from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.remote import parse_remote

_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_ECN_BITS = 0x03


def settle(intent: Intent, name: str, spec: HostSpec) -> HostSpec:
    """Check a host; the order of its endpoints is kept, the first is preferred."""
    _check_kind(intent, name, spec.kind)
    _check_only_of_kind(spec)
    spec = replace(spec, ovsdb=_settle_ovsdb(spec.ovsdb))
    _check_form(spec)
    _check_tunables(spec.tunables)
    _check_endpoints(intent, name, spec.endpoints)
    if spec.kind is HostKind.OVS:
        _check_identity(intent, name, spec)
    check_host(intent, name, spec)
    return spec


def check_unused(intent: Intent, name: str) -> None:
    """Refuse to let go a host that a network names as its target."""
    check_none([object_id(Kind.NETWORK, network) for network in intent.targets_on(name)], f"host {name}")


def _check_kind(intent: Intent, name: str, kind: HostKind) -> None:
    held = intent.hosts.get(name)
    if held is not None and held.spec.kind is not kind:
        reason = f"the host is of kind {held.spec.kind}: delete it and declare it anew, its ports leave it meanwhile"
        raise Conflict("host-kind-fixed", reason, pointer="/kind", holder=held.id)


def _check_only_of_kind(spec: HostSpec) -> None:
    """Refuse settings that mean nothing on a host of its kind."""
    if spec.kind is HostKind.OVS:
        wrong, reason = _linux_only(spec), "only hosts of kind linux have it"
    else:
        wrong, reason = _ovs_only(spec), "a host of kind linux has no Open vSwitch"
    for at, is_set in wrong:
        if is_set:
            raise Invalid("field-of-other-kind", reason, pointer=at)
    if spec.kind is HostKind.LINUX and spec.tunnels is TunnelStyle.METADATA:
        for at, is_set in _inherited(spec.tunables):
            if is_set:
                # Linux drivers/net/geneve.c: an external device takes TTL, TOS and DF from the packet's metadata.
                reason = 'filters choose tunnels by packet and inherit nothing: want "tunnels": "fixed", or a value'
                raise Invalid("tunnel-inherits-nothing", reason, pointer=at)


def _linux_only(spec: HostSpec) -> tuple[tuple[str, bool], ...]:
    return (
        ("/tunnels", spec.tunnels is not TunnelStyle.METADATA),
        ("/tunnel/df_inherit", spec.tunables.df_inherit),
        ("/tunnel/udp6_zero_csum", not spec.tunables.udp6_zero_csum),
    )


def _ovs_only(spec: HostSpec) -> tuple[tuple[str, bool], ...]:
    return (
        ("/ovsdb", spec.ovsdb is not None),
        ("/system_id", spec.system_id is not None),
        ("/bridge", spec.bridge != HostSpec().bridge),
        ("/datapath", spec.datapath is not DatapathChoice.AUTO),
        ("/offload", spec.offload is not None),
    )


def _inherited(tunables: Tunables) -> tuple[tuple[str, bool], ...]:
    return (
        ("/tunnel/ttl", tunables.ttl == "inherit"),
        ("/tunnel/tos", tunables.tos == "inherit"),
        ("/tunnel/df_inherit", tunables.df_inherit),
    )


def _settle_ovsdb(text: str | None) -> str | None:
    """Spell a remote the one way OVS does, so that two spellings of one place are seen to be the same."""
    if text is None:
        return None
    try:
        remote = parse_remote(text)
    except EncodeError as error:
        raise Invalid("ovsdb-invalid", str(error), pointer="/ovsdb") from error
    if remote.passive:
        raise Invalid("ovsdb-invalid", f"{text}: want unix:, tcp: or ssl: to dial", pointer="/ovsdb")
    return str(remote)


def _check_form(spec: HostSpec) -> None:
    # Linux: IFNAMSIZ; a bridge has an interface of its name.
    if not _BRIDGE.fullmatch(spec.bridge) or spec.bridge in (".", ".."):
        raise Invalid(
            "bridge-invalid",
            f"{spec.bridge!r}: want 1 to 15 letters, digits, '_', '.', '-'",
            pointer="/bridge",
        )
    if spec.system_id is not None:
        check_external_id(spec.system_id, "/system_id")


def _check_identity(intent: Intent, name: str, spec: HostSpec) -> None:
    called = spec.system_id or name
    holder = intent.host_by_system_id(called)
    what = f"system-id {called}"
    check_free(holder, Kind.HOST, name, code="system-id-taken", what=what, at="/system_id")
    if spec.ovsdb is not None:
        holder = intent.host_by_ovsdb(spec.ovsdb)
        check_free(holder, Kind.HOST, name, code="ovsdb-taken", what=f"OVSDB {spec.ovsdb}", at="/ovsdb")


def _check_tunables(tunables: Tunables) -> None:
    ttl, tos = tunables.ttl, tunables.tos
    if not (ttl is None or ttl == "inherit" or (isinstance(ttl, int) and 1 <= ttl <= 255)):
        raise Invalid("ttl-invalid", f'{ttl!r}: want 1 to 255 or "inherit"', pointer="/tunnel/ttl")
    if not (tos is None or tos == "inherit" or (isinstance(tos, int) and 0 <= tos <= 255)):
        raise Invalid("tos-invalid", f'{tos!r}: want 0 to 255 or "inherit"', pointer="/tunnel/tos")
    if isinstance(tos, int) and tos & _ECN_BITS:
        # ovs-vswitchd.conf.db(5), options:tos: the ECN bits are always inherited (RFC 6040).
        raise Invalid("tos-invalid", f"{tos:#x}: the two ECN bits must be 0", pointer="/tunnel/tos")


def _check_endpoints(intent: Intent, name: str, endpoints: tuple[Address, ...]) -> None:
    if not endpoints:
        raise Invalid("endpoint-missing", "a host needs a tunnel endpoint", pointer="/endpoints")
    check_distinct(endpoints, "endpoint-duplicate", "/endpoints", "address")
    for position, address in enumerate(endpoints):
        at = pointer("endpoints", position, "address")
        check_unicast(address, at)
        if address.version == 6 and address.is_link_local:
            raise Invalid("endpoint-link-local", f"{address} cannot be reached without a zone", pointer=at)
        holder = intent.host_by_endpoint(address)
        what = f"tunnel endpoint {address}"
        check_free(holder, Kind.HOST, name, code="endpoint-taken", what=what, at=at)
        behind = min(intent.targets_behind(address), default=None)
        if behind is not None:
            by = object_id(Kind.NETWORK, behind)
            raise Conflict("endpoint-taken", f"{address} is a gateway of {by}", pointer=at, holder=by)
