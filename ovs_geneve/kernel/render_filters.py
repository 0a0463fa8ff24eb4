# SPDX-License-Identifier: Apache-2.0
"""Filters as tc(8) commands. Pure.

tc writes option classes, types and data as plain hexadecimal; ip-route(8) wants 0x before class and type.
"""

from __future__ import annotations

from ipaddress import ip_address

from ovs_geneve.kernel.objects import (
    Action,
    Filter,
    Flower,
    Fw,
    GeneveOption,
    GeneveOptionMatch,
    Goto,
    Mirred,
    SetMark,
    TunnelSet,
    TunnelUnset,
    Verdict,
)

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


def put_filter(one: Filter) -> str:
    """Return the command that makes a filter or replaces the one of its key."""
    actions = " ".join(_action(action) for action in one.actions)
    return f"tc filter replace {_place(one)} {_kind(one)}{_match(one)} {actions}"


def remove_filter(one: Filter) -> str:
    """Return the command that ends a filter."""
    return f"tc filter del {_place(one)} {_kind(one)}"


def _place(one: Filter) -> str:
    direction = "egress" if one.egress else "ingress"
    handle = f"{one.handle:#x}"
    if isinstance(one.match, Fw):
        handle = f"{one.match.mark:#x}/{one.match.mask:#x}"
    return (
        f"dev {one.device} {direction} chain {one.chain} pref {one.preference} "
        f"handle {handle} protocol {one.protocol}"
    )


def _kind(one: Filter) -> str:
    return "fw" if isinstance(one.match, Fw) else "flower"


def _match(one: Filter) -> str:
    if not isinstance(one.match, Flower):
        return ""
    match = one.match
    words = {
        "src_mac": match.src_mac,
        "dst_mac": match.dst_mac,
        "ip_proto": None
        if match.ip_proto is None
        else _PROTOCOLS.get(match.ip_proto, f"{match.ip_proto:#x}"),
        "src_ip": match.src_ip,
        "dst_ip": match.dst_ip,
        "src_port": _ports(match.src_ports),
        "dst_port": _ports(match.dst_ports),
        "ip_flags": None if match.fragment is None else "frag" if match.fragment else "nofrag",
        "type": match.icmp_type,
        "code": match.icmp_code,
        "arp_sip": match.arp_sip,
        "arp_tip": match.arp_tip,
        "arp_sha": match.arp_sha,
        "enc_key_id": match.enc_vni,
        "enc_src_ip": match.enc_src,
        "enc_dst_ip": match.enc_dst,
        "enc_dst_port": match.enc_dst_port,
        "geneve_opts": ",".join(map(_option_match, match.enc_options)) or None,
    }
    return "".join(f" {word} {value}" for word, value in words.items() if value is not None)


def _ports(ports: tuple[int, int] | None) -> str | None:
    if ports is None:
        return None
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _option_match(one: GeneveOptionMatch) -> str:
    value = f"{one.option_class:04x}:{one.option_type:02x}:{one.data}"
    return f"{value}/{one.class_mask:04x}:{one.type_mask:02x}:{one.data_mask}"


def _option(one: GeneveOption) -> str:
    return f"{one.option_class:04x}:{one.option_type:02x}:{one.data}"


def _action(action: Action) -> str:
    match action:
        case TunnelSet():
            return _tunnel_set(action)
        case TunnelUnset():
            return "action tunnel_key unset pipe"
        case Mirred():
            direction = "ingress" if action.ingress else "egress"
            how = "mirror" if action.copy else "redirect"
            return f"action mirred {direction} {how} dev {action.device}"
        case SetMark():
            return f"action skbedit mark {action.mark:#x} pipe"
        case Goto():
            return f"action goto chain {action.chain}"
        case Verdict():
            return f"action {action.verdict}"


def _tunnel_set(action: TunnelSet) -> str:
    src = action.src or str(type(ip_address(action.dst))(0))
    words = [f"id {action.vni} src_ip {src} dst_ip {action.dst} dst_port {action.dst_port}"]
    words += [f"tos {action.tos:#x}"] if action.tos else []
    words += [f"ttl {action.ttl}"] if action.ttl else []
    if action.options:
        words.append("geneve_opts " + ",".join(map(_option, action.options)))
    words.append("csum" if action.csum else "nocsum")
    return f"action tunnel_key set {' '.join(words)} pipe"
